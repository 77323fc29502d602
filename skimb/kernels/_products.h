/* Small products: C = A B by blocks of C that stay in registers, with what follows them: intercepts, ReLU, zeros
 * where another tensor is not above 0. Libraries spend a good part of their time on preparations, which small matrices
 * do not repay. Builds for old processors alone have no use for it, nor has MSVC vectors of this kind.
 *
 * Everything is there twice: with vectors of 32 bytes, and with those of 64 bytes where the processor has them. Both
 * add in the same order, but for sums along rows.
 */
#if defined(__GNUC__)
typedef float vector_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t bits_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double vector_f64 __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t bits_f64 __attribute__((vector_size(32), aligned(8), may_alias));
typedef float wide_f32 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t wide_bits_f32 __attribute__((vector_size(64), aligned(4), may_alias));
typedef double wide_f64 __attribute__((vector_size(64), aligned(8), may_alias));
typedef int64_t wide_bits_f64 __attribute__((vector_size(64), aligned(8), may_alias));

#define LONG_SUM 64     /* terms that are added before the next block is begun, in sums over rows */
#define SMALL (4 << 10) /* numbers of B that may be read again for each block of rows */
#define FEW_TERMS 48    /* sums of fewer gain nothing from vectors of 64 bytes */

#if defined(WIDE_CLONES)
#define WIDE __attribute__((target("arch=x86-64-v4")))
/* MAKE(suffix, attributes, type, vector, bits, lanes, rows of a block, long rows of a block) */
#define EACH_WIDTH(MAKE)                                                                           \
    MAKE(f32, CLONES, float, vector_f32, bits_f32, 8, 6, 3)                                        \
    MAKE(f64, CLONES, double, vector_f64, bits_f64, 4, 6, 3)                                       \
    MAKE(f32_wide, WIDE, float, wide_f32, wide_bits_f32, 16, 8, 4)                                 \
    MAKE(f64_wide, WIDE, double, wide_f64, wide_bits_f64, 8, 8, 4)
#else
#define EACH_WIDTH(MAKE)                                                                           \
    MAKE(f32, CLONES, float, vector_f32, bits_f32, 8, 6, 3)                                        \
    MAKE(f64, CLONES, double, vector_f64, bits_f64, 4, 6, 3)
#endif

#define matrix_product_float matrix_product_f32 /* with vectors of 32 bytes */
#define matrix_product_double matrix_product_f64

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Rows of A are `down` apart and its columns `right`; what B and C have in a row lies side by side. */
#define BLOCK_PRODUCT(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                            \
    INLINE void block_product_##SUFFIX(                                                            \
        const int rows, int64_t k, const T *restrict a, int64_t down, int64_t right,               \
        const T *restrict b, int64_t b_row, T *restrict c, int64_t c_row, const int add,           \
        const T *restrict bias, int64_t bias_row, const int relu, const T *restrict mask,          \
        const int ahead)                                                                           \
    {                                                                                              \
        V x[FEW], y[FEW];                                                                          \
        for (int r = 0; r < rows; r++) {                                                           \
            x[r] = y[r] = (V){0};                                                                  \
            if (add) {                                                                             \
                x[r] = *(const V *)(c + r * c_row);                                                \
                y[r] = *(const V *)(c + r * c_row + LANES);                                        \
            }                                                                                      \
        }                                                                                          \
        for (int64_t p = 0; p < k; p++) {                                                          \
            const V s = *(const V *)(b + p * b_row), t = *(const V *)(b + p * b_row + LANES);      \
            const T *restrict own = a + p * right;                                                 \
            if (ahead) __builtin_prefetch(b + p * b_row + 2 * LANES);                              \
            for (int r = 0; r < rows; r++) {                                                       \
                x[r] += own[r * down] * s;                                                         \
                y[r] += own[r * down] * t;                                                         \
            }                                                                                      \
        }                                                                                          \
        for (int r = 0; r < rows; r++) {                                                           \
            T *restrict out = c + r * c_row;                                                       \
            if (bias) {                                                                            \
                x[r] += *(const V *)(bias + r * bias_row);                                         \
                y[r] += *(const V *)(bias + r * bias_row + LANES);                                 \
            }                                                                                      \
            if (relu) {                                                                            \
                x[r] = (V)((BITS)x[r] & ~(BITS)(x[r] < 0));                                        \
                y[r] = (V)((BITS)y[r] & ~(BITS)(y[r] < 0));                                        \
            }                                                                                      \
            if (mask) {                                                                            \
                const T *restrict above = mask + r * c_row;                                        \
                x[r] = (V)((BITS)x[r] & (BITS)(*(const V *)above > 0));                            \
                y[r] = (V)((BITS)y[r] & (BITS)(*(const V *)(above + LANES) > 0));                  \
            }                                                                                      \
            *(V *)out = x[r];                                                                      \
            *(V *)(out + LANES) = y[r];                                                            \
        }                                                                                          \
    }

#define ROWS_OF(NAME, N)                                                                           \
    case N:                                                                                        \
        NAME(N, k, a + i * down, down, right, b + j, b_row, c + i * c_row + j, c_row, add,         \
             bias ? bias + i * bias_row + j % period : 0, bias_row, relu,                          \
             mask ? mask + i * c_row + j : 0, parts > 1);                                          \
        break;
#define UP_TO_6(NAME)                                                                              \
    ROWS_OF(NAME, 1)                                                                               \
    ROWS_OF(NAME, 2)                                                                               \
    ROWS_OF(NAME, 3)                                                                               \
    ROWS_OF(NAME, 4)                                                                               \
    ROWS_OF(NAME, 5)                                                                               \
    ROWS_OF(NAME, 6)
#define UP_TO_8(NAME)                                                                              \
    UP_TO_6(NAME)                                                                                  \
    ROWS_OF(NAME, 7)                                                                               \
    ROWS_OF(NAME, 8)

/* A's rows may be side by side in memory, its columns then are not: sums over rows. Intercepts repeat after
 * `period` columns. Columns of C are pairs of vectors of 32 bytes. */
#define MATRIX_PRODUCT(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                           \
    ATTRIBUTES static void matrix_product_##SUFFIX(                                                \
        int64_t m, int64_t n, int64_t whole, const T *restrict A, int64_t down, int64_t right,     \
        const T *restrict B, int64_t b_row, T *restrict c, int64_t c_row, int onto,                \
        const T *restrict biases, int64_t bias_row, int64_t period, int last_relu,                 \
        const T *restrict masks)                                                                   \
    {                                                                                              \
        if (sizeof(V) > 32) {                                                                      \
            const int64_t at = whole < FEW_TERMS ? 0 : n - n % (2 * LANES);                        \
            if (at < n)                                                                            \
                matrix_product_##T(m, n - at, whole, A, down, right, B + at, b_row, c + at, c_row, \
                                   onto, biases ? biases + at % period : 0, bias_row, period,      \
                                   last_relu, masks ? masks + at : 0);                             \
            n = at;                                                                                \
        }                                                                                          \
        const int64_t step = right == 1 ? whole : LONG_SUM;                                        \
        for (int64_t from = 0; n && from < whole; from += step) {                                  \
            const int64_t k = least(whole - from, step);                                           \
            const int last = from + k == whole, add = onto || from, relu = last && last_relu;      \
            const T *restrict bias = last ? biases : 0, *restrict mask = last ? masks : 0;         \
            const T *restrict a = A + from * right, *restrict b = B + from * b_row;                \
            const int64_t columns = n / (2 * LANES), parts = n > m && k * n > SMALL ? columns : 1; \
            for (int64_t o = 0; o < parts; o++)                                                    \
                for (int64_t i = 0, rows; i < m; i += rows) {                                      \
                    const int64_t left = m - i;                                                    \
                    rows = left <= FEW ? left : left < 2 * FEW ? (left + 1) / 2 : FEW;             \
                    for (int64_t q = 0; q < columns / parts; q++) {                                \
                        const int64_t j = (o + q) * 2 * LANES;                                     \
                        switch (rows) { UP_TO_##FEW(block_product_##SUFFIX) }                      \
                    }                                                                              \
                }                                                                                  \
        }                                                                                          \
    }

/* Sums of products of few long rows with few long rows, added to C: blocks of LONG by LONG */
#define LONG_PRODUCT(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                             \
    INLINE void long_product_##SUFFIX(const int m, const int n, int64_t k, const T *restrict a,    \
                                      int64_t a_row, const T *restrict b, int64_t b_row,           \
                                      T *restrict c, int64_t c_row)                                \
    {                                                                                              \
        V sums[LONG * LONG];                                                                       \
        for (int i = 0; i < m * n; i++) sums[i] = (V){0};                                          \
        for (int64_t p = 0; p < k; p += LANES) {                                                   \
            V own[LONG];                                                                           \
            for (int i = 0; i < m; i++) own[i] = *(const V *)(a + i * a_row + p);                  \
            for (int j = 0; j < n; j++) {                                                          \
                const V other = *(const V *)(b + j * b_row + p);                                   \
                for (int i = 0; i < m; i++) sums[i * n + j] += own[i] * other;                     \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < m; i++)                                                                \
            for (int j = 0; j < n; j++) {                                                          \
                T sum = 0;                                                                         \
                for (int q = 0; q < LANES; q++) sum += sums[i * n + j][q];                         \
                c[i * c_row + j] += sum;                                                           \
            }                                                                                      \
    }

#define PIECE_OF(NAME, M, N)                                                                       \
    case 8 * M + N:                                                                                \
        NAME(M, N, k, a + i * a_row, a_row, b + j * b_row, b_row, c + i * c_row + j, c_row);       \
        break;
#define PIECES_TO_3(NAME, M)                                                                       \
    PIECE_OF(NAME, M, 1)                                                                           \
    PIECE_OF(NAME, M, 2)                                                                           \
    PIECE_OF(NAME, M, 3)
#define PIECES_TO_4(NAME, M)                                                                       \
    PIECES_TO_3(NAME, M)                                                                           \
    PIECE_OF(NAME, M, 4)
#define SQUARES_TO_3(NAME)                                                                         \
    PIECES_TO_3(NAME, 1)                                                                           \
    PIECES_TO_3(NAME, 2)                                                                           \
    PIECES_TO_3(NAME, 3)
#define SQUARES_TO_4(NAME)                                                                         \
    PIECES_TO_4(NAME, 1)                                                                           \
    PIECES_TO_4(NAME, 2)                                                                           \
    PIECES_TO_4(NAME, 3)                                                                           \
    PIECES_TO_4(NAME, 4)

#define LONG_PRODUCTS(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                            \
    ATTRIBUTES static void long_products_##SUFFIX(int64_t m, int64_t n, int64_t k,                 \
                                                  const T *restrict a, int64_t a_row,              \
                                                  const T *restrict b, int64_t b_row,              \
                                                  T *restrict c, int64_t c_row)                    \
    {                                                                                              \
        for (int64_t i = 0; i < m; i += LONG)                                                      \
            for (int64_t j = 0; j < n; j += LONG)                                                  \
                switch (8 * least(m - i, LONG) + least(n - j, LONG)) {                             \
                    SQUARES_TO_##LONG(long_product_##SUFFIX)                                       \
                }                                                                                  \
    }

/* Strides are those of batches, then of rows and columns. Where those of B's columns are not 1, it is turned into
 * `scratch` first. */
#define PRODUCT(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                                  \
    EXPORT void product_##SUFFIX(                                                                  \
        int64_t batches, int64_t m, int64_t n, int64_t k, int64_t a_batch, int64_t down,           \
        int64_t right, int64_t b_batch, int64_t b_row, int64_t b_column, int64_t c_batch,          \
        int64_t c_row, int64_t bias_batch, int relu, const T *a, const T *b, T *c, const T *bias,  \
        const T *mask, T *scratch)                                                                 \
    {                                                                                              \
        for (int64_t g = 0; g < batches; g++) {                                                    \
            const T *own = b + g * b_batch;                                                        \
            if (b_column != 1) {                                                                   \
                for (int64_t p = 0; p < k; p++)                                                    \
                    for (int64_t j = 0; j < n; j++)                                                \
                        scratch[p * n + j] = own[p * b_row + j * b_column];                        \
                own = scratch;                                                                     \
            }                                                                                      \
            matrix_product_##SUFFIX(m, n, k, a + g * a_batch, down, right, own,                    \
                                    b_column == 1 ? b_row : n, c + g * c_batch, c_row, 0,          \
                                    bias ? bias + g * bias_batch : 0, 0, n, relu,                  \
                                    mask ? mask + g * c_batch : 0);                                \
        }                                                                                          \
    }

EACH_WIDTH(BLOCK_PRODUCT)
EACH_WIDTH(MATRIX_PRODUCT)
EACH_WIDTH(LONG_PRODUCT)
EACH_WIDTH(LONG_PRODUCTS)
EACH_WIDTH(PRODUCT)
#endif

/* Bytes of the vectors with which products are faster here than those of a library, or 0. */
EXPORT int product_vectors(void)
{
#if defined(WIDE_CLONES)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl"))
        return 64;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 32 : 0;
#elif defined(__AVX2__) && defined(__FMA__) && defined(__GNUC__)
    return 32;
#else
    return 0;
#endif
}
