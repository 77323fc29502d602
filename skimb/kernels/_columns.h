/* The first layer of nets on embedded columns: each column's product with weights of its own, summed with the scales of
 * each member, and back. Columns are of up to two kinds, the first d and f more. */
#if defined(__GNUC__)
#define IN_CACHE (48 << 10) /* numbers of the products of columns that are used while they are near */
#define FEWEST_ROWS 16      /* that are taken through all columns at once */
#define COLUMNS_AT_ONCE 16  /* whose tables are near while rows are looked up in all of them */

/* Rows that are taken through some columns of a layer while what is between stays near */
INLINE int64_t rows_in_cache(int64_t columns, int64_t h)
{
    return FEWEST_ROWS * most(1, least(IN_CACHE / (columns * h) / FEWEST_ROWS, 6));
}

/* Products of each column with its weights, and their sums with the scales of each member. Columns of the first kind are
 * of width e, those of the second of width w, each with its rows and weights. */
#define MIXED_COLUMNS(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                            \
    EXPORT void mixed_columns_##SUFFIX(                                                            \
        int64_t nets, int64_t members, int64_t n, int64_t h, int64_t d, int64_t e, int64_t f,      \
        int64_t w, int64_t first_net, int64_t other_net, int64_t R_net, int64_t P_column,          \
        int64_t bias_net, int relu, const T *E, const T *first, const T *F, const T *other,        \
        const T *R, T *P, const T *bias, T *out)                                                   \
    {                                                                                              \
        const int64_t many = rows_in_cache(d + f, h);                                              \
        for (int64_t g = 0; g < nets; g++, P += (d + f) * P_column, out += members * n * h)        \
            for (int64_t i = 0; i < n; i += many) {                                                \
                const int64_t rows = least(many, n - i);                                           \
                for (int64_t j = 0; j < d; j++)                                                    \
                    matrix_product_##SUFFIX(                                                       \
                        rows, h, e, E + ((g * d + j) * n + i) * e, e, 1,                           \
                        first + g * first_net + j * e * h, h, P + j * P_column + i * h, h, 0, 0,   \
                        0, h, 0, 0);                                                               \
                for (int64_t j = 0; j < f; j++)                                                    \
                    matrix_product_##SUFFIX(                                                       \
                        rows, h, w, F + ((g * f + j) * n + i) * w, w, 1,                           \
                        other + g * other_net + j * w * h, h, P + (d + j) * P_column + i * h, h,   \
                        0, 0, 0, h, 0, 0);                                                         \
                matrix_product_##SUFFIX(members, rows * h, d + f, R + g * R_net, d + f, 1,         \
                                        P + i * h, P_column, out + i * h, n * h, 0,                \
                                        bias ? bias + g * bias_net : 0, 0, h, relu, 0);            \
            }                                                                                      \
    }

#define MIXED_KIND(SUFFIX, COUNT, AT, WIDTH, ROWS, TURNED, DOWN, SUMS, SUMS_NET)                   \
    for (int64_t j = 0; j < COUNT; j++) {                                                          \
        const int64_t row = (g * COUNT + j) * n + i;                                               \
        matrix_product_##SUFFIX(WIDTH, h, rows, ROWS + row * WIDTH, 1, WIDTH,                      \
                                dP + (AT + j) * far, h, SUMS + g * SUMS_NET + j * WIDTH * h, h,    \
                                i > 0, 0, 0, h, 0, 0);                                             \
        if (DOWN)                                                                                  \
            matrix_product_##SUFFIX(rows, WIDTH, h, dP + (AT + j) * far, h, 1,                     \
                                    TURNED + j * h * WIDTH, WIDTH, DOWN + row * WIDTH, WIDTH, 0,   \
                                    0, 0, WIDTH, 0, 0);                                            \
    }

/* Weights (e, h) of a column as (h, e) */
#define TURNED_COLUMN(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                            \
    INLINE void turned_##SUFFIX(int64_t e, int64_t h, const T *restrict weights, T *restrict out)  \
    {                                                                                              \
        for (int64_t q = 0; q < e; q++)                                                            \
            for (int64_t p = 0; p < h; p++) out[p * e + q] = weights[q * h + p];                   \
    }

/* Gradients behind MIXED_COLUMNS; dE, dF and gR may be 0. */
#define MIXED_COLUMNS_GRADS(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                      \
    EXPORT void mixed_columns_grads_##SUFFIX(                                                      \
        int64_t nets, int64_t members, int64_t n, int64_t h, int64_t d, int64_t e, int64_t f,      \
        int64_t w, int64_t first_net, int64_t other_net, int64_t R_net, int64_t P_column,          \
        int64_t gap, int64_t gfirst_net, int64_t gother_net, int64_t gR_net, const T *D,           \
        const T *E, const T *first, const T *F, const T *other, const T *R, const T *P, T *gfirst, \
        T *gother, T *gR, T *dE, T *dF, T *scratch)                                                \
    {                                                                                              \
        const int64_t many = rows_in_cache(d + f, h), far = many * h + gap;                        \
        T *dP = scratch, *turned = dP + (d + f) * far, *others = turned + d * e * h;               \
        for (int64_t g = 0; g < nets; g++, P += (d + f) * P_column, D += members * n * h) {        \
            for (int64_t j = 0; dE && j < d; j++)                                                  \
                turned_##SUFFIX(e, h, first + g * first_net + j * e * h, turned + j * h * e);      \
            for (int64_t j = 0; dF && j < f; j++)                                                  \
                turned_##SUFFIX(w, h, other + g * other_net + j * w * h, others + j * h * w);      \
            for (int64_t j = 0; gR && j < members * (d + f); j++) gR[g * gR_net + j] = 0;          \
            for (int64_t i = 0; i < n; i += many) {                                                \
                const int64_t rows = least(many, n - i);                                           \
                if (gR)                                                                            \
                    long_products_##SUFFIX(members, d + f, rows * h, D + i * h, n * h, P + i * h,  \
                                           P_column, gR + g * gR_net, d + f);                      \
                matrix_product_##SUFFIX(d + f, rows * h, members, R + g * R_net, 1, d + f,         \
                                        D + i * h, n * h, dP, far, 0, 0, 0, h, 0, 0);              \
                MIXED_KIND(SUFFIX, d, 0, e, E, turned, dE, gfirst, gfirst_net)                     \
                MIXED_KIND(SUFFIX, f, d, w, F, others, dF, gother, gother_net)                     \
            }                                                                                      \
        }                                                                                          \
    }

EACH_WIDTH(MIXED_COLUMNS)
EACH_WIDTH(TURNED_COLUMN)
EACH_WIDTH(MIXED_COLUMNS_GRADS)

/* ---- columns that are looked up: numbers in bins, see PIECEWISE_ROWS, and categories -------------- */

/* Where n rows of a column are in its table, from numbers that are `apart`, the first being `from`; returns the rows
 * of the table up to the last one that is used, or 0 if one lies outside of it. */
INLINE int64_t places_in(int64_t n, const int32_t *restrict at, int64_t apart, int64_t from, int64_t height,
                         int32_t *restrict place)
{
    int32_t last = 0, outside = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = at[i * apart] - from;
        outside |= j < 0 || j >= height;
        place[i] = (int32_t)j;
        last = last > place[i] ? last : place[i];
    }
    return outside ? 0 : last + 1;
}

/* The same for a table of which only the rows in use are taken, in the order in which they come: these are listed in
 * `used`. Rows of `slot` have any values. */
INLINE int64_t slots_of(int64_t n, const int32_t *restrict at, int64_t apart, int64_t height, int32_t *restrict slot,
                        int32_t *restrict place, int32_t *restrict used)
{
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = at[i * apart];
        if (j < 0 || j >= height) return 0;
        slot[j] = -1;
    }
    for (int64_t i = 0; i < n; i++) {
        const int32_t j = at[i * apart];
        if (slot[j] < 0) {
            slot[j] = count;
            used[count++] = j;
        }
        place[i] = slot[j];
    }
    return count;
}

/* Lines of bins in the space behind the weights: Q has the products of the steps V, then of slope and level. Row j of
 * `lines` is where bin j starts, and how far it rises. */
#define BIN_LINES(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                                \
    ATTRIBUTES static void bin_lines_##SUFFIX(int64_t used, int64_t h, const T *restrict s,        \
                                              const T *restrict r, const T *restrict Q,            \
                                              T *restrict lines)                                   \
    {                                                                                              \
        for (int64_t q = 0; q < h; q += LANES) {                                                   \
            const V slope = *(const V *)(Q + used * h + q), level = *(const V *)(Q + used * h + h + q);\
            V sum = level;                                                                         \
            for (int64_t j = 0; j < used; j++) {                                                   \
                const V step = *(const V *)(Q + j * h + q);                                        \
                *(V *)(lines + 2 * j * h + q) = sum + s[j] * slope;                                \
                *(V *)(lines + 2 * j * h + h + q) = step + r[j] * slope;                           \
                if (j) sum += step; /* V_0 enters no other bin */                                  \
            }                                                                                      \
        }                                                                                          \
    }

/* Back: `lines` has the gradient in starts and rises, Q receives that in steps, slope and level. */
#define BIN_LINES_GRAD(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                           \
    ATTRIBUTES static void bin_lines_grad_##SUFFIX(int64_t used, int64_t h, const T *restrict s,   \
                                                   const T *restrict r, const T *restrict lines,   \
                                                   T *restrict Q)                                  \
    {                                                                                              \
        for (int64_t q = 0; q < h; q += LANES) {                                                   \
            V slope = (V){0}, above = (V){0};                                                      \
            for (int64_t j = used - 1; j >= 0; j--) {                                              \
                const V start = *(const V *)(lines + 2 * j * h + q);                               \
                const V rise = *(const V *)(lines + 2 * j * h + h + q);                            \
                *(V *)(Q + j * h + q) = rise + (j ? (T)1 : (T)0) * above;                          \
                slope += s[j] * start + r[j] * rise;                                               \
                above += start;                                                                    \
            }                                                                                      \
            *(V *)(Q + used * h + q) = slope;                                                      \
            *(V *)(Q + used * h + h + q) = above;                                                  \
        }                                                                                          \
    }

/* Rows of a table, (j, h) or lines with fractions t that are `apart` */
#define LOOKED_UP(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                                \
    ATTRIBUTES static void looked_up_##SUFFIX(int64_t n, int64_t h, const int32_t *restrict place, \
                                              const T *restrict t, int64_t apart,                  \
                                              const T *restrict table, T *restrict out)            \
    {                                                                                              \
        if (t)                                                                                     \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const T *restrict row = table + 2 * place[i] * h, part = t[i * apart];             \
                for (int64_t q = 0; q < h; q += LANES)                                             \
                    *(V *)(out + i * h + q) = *(const V *)(row + q) + part * *(const V *)(row + h + q);\
            }                                                                                      \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const T *restrict row = table + place[i] * h;                                      \
                for (int64_t q = 0; q < h; q += LANES)                                             \
                    *(V *)(out + i * h + q) = *(const V *)(row + q);                               \
            }                                                                                      \
    }

/* Gradients of rows added to those of the table that they were looked up in */
#define ADDED_UP(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                                 \
    ATTRIBUTES static void added_up_##SUFFIX(int64_t n, int64_t h, const int32_t *restrict place,  \
                                             const T *restrict t, int64_t apart,                   \
                                             const T *restrict d, T *restrict table)               \
    {                                                                                              \
        if (t)                                                                                     \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T *restrict row = table + 2 * place[i] * h;                                        \
                const T part = t[i * apart];                                                       \
                for (int64_t q = 0; q < h; q += LANES) {                                           \
                    const V own = *(const V *)(d + i * h + q);                                     \
                    *(V *)(row + q) += own;                                                        \
                    *(V *)(row + h + q) += part * own;                                             \
                }                                                                                  \
            }                                                                                      \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T *restrict row = table + place[i] * h;                                            \
                for (int64_t q = 0; q < h; q += LANES)                                             \
                    *(V *)(row + q) += *(const V *)(d + i * h + q);                                \
            }                                                                                      \
    }

/* Steps, slope and level of a column, or the rows of a table that are in use, one below the other */
#define GATHERED(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                                 \
    INLINE void steps_of_##SUFFIX(int64_t used, int64_t e, const T *restrict steps,                \
                                  const T *restrict slope, const T *restrict level,                \
                                  T *restrict out)                                                 \
    {                                                                                              \
        for (int64_t q = 0; q < used * e; q++) out[q] = steps[q];                                  \
        for (int64_t q = 0; q < e; q++) out[used * e + q] = slope[q];                              \
        for (int64_t q = 0; q < e; q++) out[used * e + e + q] = level[q];                          \
    }                                                                                              \
    INLINE void rows_of_##SUFFIX(int64_t used, int64_t e, const int32_t *restrict at,              \
                                 const T *restrict table, T *restrict out)                         \
    {                                                                                              \
        for (int64_t i = 0; i < used; i++)                                                         \
            for (int64_t q = 0; q < e; q++) out[i * e + q] = table[at[i] * e + q];                 \
    }

/* As MIXED_COLUMNS for columns of which the first d are numbers in bins and f are categories, all embedded in e numbers:
 * the tables of embeddings go through the weights, not the rows of a batch, and P is looked up. All tensors but `out`
 * have strides between nets. Returns 0 if a place lies outside of its table; what was written is of no use then.
 * `scratch` has room for tables of `tall` rows, `numbers` for places of rows and rows of tables. */
#define TABLE_COLUMNS(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                            \
    EXPORT int table_columns_##SUFFIX(                                                             \
        int64_t nets, int64_t members, int64_t n, int64_t h, int64_t e, int64_t d, int64_t m,      \
        int64_t f, int64_t height, int64_t tall, const int64_t *to, int64_t P_column, int relu,    \
        const T *steps, const T *slope, const T *level, const T *first, const T *starts,           \
        const T *spans, const T *t, const T *codes, const T *other, const T *R, const T *bias,     \
        const int32_t *bins, const int32_t *at, T *P, T *out, T *scratch, int32_t *numbers)        \
    {                                                                                              \
        T *own = scratch, *Q = own + tall * e, *lines = Q + tall * h;                              \
        int32_t *place = numbers, *used = place + n, *slot = used + n;                             \
        for (int64_t g = 0; g < nets; g++) {                                                       \
            for (int64_t j = 0; j < d; j++) {                                                      \
                const int64_t rows = places_in(n, bins + j, d, j * m, m, place);                   \
                if (!rows) return 0;                                                               \
                steps_of_##SUFFIX(rows, e, steps + j * m * e, slope + j * e, level + j * e, own);  \
                matrix_product_##SUFFIX(rows + 2, h, e, own, e, 1, first + j * e * h, h, Q, h, 0, 0,\
                                        0, h, 0, 0);                                               \
                bin_lines_##SUFFIX(rows, h, starts + j * m, spans + j * m, Q, lines);              \
                looked_up_##SUFFIX(n, h, place, t + j, d, lines, P + j * P_column);                \
            }                                                                                      \
            for (int64_t j = 0; j < f; j++) {                                                      \
                const int64_t rows = slots_of(n, at + j, f, height, slot, place, used);            \
                if (!rows) return 0;                                                               \
                rows_of_##SUFFIX(rows, e, used, codes, own);                                       \
                matrix_product_##SUFFIX(rows, h, e, own, e, 1, other + j * e * h, h, Q, h, 0, 0, 0,\
                                        h, 0, 0);                                                  \
                looked_up_##SUFFIX(n, h, place, 0, 0, Q, P + (d + j) * P_column);                  \
            }                                                                                      \
            const int64_t many = rows_in_cache(d + f, h);                                          \
            for (int64_t i = 0; i < n; i += many)                                                  \
                matrix_product_##SUFFIX(members, least(many, n - i) * h, d + f, R, d + f, 1,       \
                                        P + i * h, P_column, out + i * h, n * h, 0, bias, 0, h,    \
                                        relu, 0);                                                  \
            if (d) {                                                                               \
                steps += to[0], slope += to[1], level += to[2], first += to[3], starts += to[4];   \
                spans += to[5], t += to[6], bins += to[7];                                         \
            }                                                                                      \
            if (f) codes += to[8], other += to[9], at += to[10];                                   \
            if (bias) bias += to[12];                                                              \
            R += to[11], P += (d + f) * P_column, out += members * n * h;                          \
        }                                                                                          \
        return 1;                                                                                  \
    }

/* Gradients behind TABLE_COLUMNS; gR may be 0. */
#define TABLE_COLUMNS_GRADS(SUFFIX, ATTRIBUTES, T, V, BITS, LANES, FEW, LONG)                      \
    EXPORT int table_columns_grads_##SUFFIX(                                                       \
        int64_t nets, int64_t members, int64_t n, int64_t h, int64_t e, int64_t d, int64_t m,      \
        int64_t f, int64_t height, int64_t tall, const int64_t *to, int64_t P_column, int64_t gap, \
        const T *D, const T *steps, const T *slope, const T *level, const T *first,                \
        const T *starts, const T *spans, const T *t, const T *codes, const T *other, const T *R,   \
        const int32_t *bins, const int32_t *at, const T *P, T *gsteps, T *gslope, T *glevel,       \
        T *gfirst, T *gcodes, T *gother, T *gR, T *scratch, int32_t *numbers)                      \
    {                                                                                              \
        const int64_t columns = d + f, together = least(columns, COLUMNS_AT_ONCE);                 \
        const int64_t many = rows_in_cache(together, h), far = many * h + gap;                     \
        const int64_t table = 2 * tall * h;                                                        \
        T *dP = scratch, *tables = dP + together * far, *Q = tables + together * table;            \
        T *own = Q + tall * h, *down = own + tall * e, *turned = down + tall * e;                  \
        int32_t *place = numbers, *used = place + together * n, *slot = used + together * n;       \
        int64_t rows[COLUMNS_AT_ONCE];                                                             \
        for (int64_t g = 0; g < nets; g++) {                                                       \
            for (int64_t q = 0; f && q < height * e; q++) gcodes[q] = 0;                           \
            for (int64_t q = 0; gR && q < members * columns; q++) gR[q] = 0;                       \
            for (int64_t from = 0, to_c; from < columns; from = to_c) {                            \
                to_c = least(from + together, columns);                                            \
                const int64_t count = to_c - from;                                                 \
                for (int64_t c = 0; c < count; c++) {                                              \
                    const int64_t j = from + c;                                                    \
                    rows[c] = j < d ? places_in(n, bins + j, d, j * m, m, place + c * n)           \
                                    : slots_of(n, at + j - d, f, height, slot, place + c * n,      \
                                               used + c * n);                                      \
                    if (!rows[c]) return 0;                                                        \
                    for (int64_t q = 0; q < (j < d ? 2 : 1) * rows[c] * h; q++)                    \
                        tables[c * table + q] = 0;                                                 \
                }                                                                                  \
                for (int64_t i = 0; i < n; i += many) {                                            \
                    const int64_t some = least(many, n - i);                                       \
                    if (gR)                                                                        \
                        long_products_##SUFFIX(members, count, some * h, D + i * h, n * h,         \
                                               P + from * P_column + i * h, P_column, gR + from,   \
                                               columns);                                           \
                    matrix_product_##SUFFIX(count, some * h, members, R + from, 1, columns,        \
                                            D + i * h, n * h, dP, far, 0, 0, 0, h, 0, 0);          \
                    for (int64_t c = 0; c < count; c++) {                                          \
                        const T *parts = from + c < d ? t + from + c + i * d : 0;                  \
                        added_up_##SUFFIX(some, h, place + c * n + i, parts, d, dP + c * far,      \
                                          tables + c * table);                                     \
                    }                                                                              \
                }                                                                                  \
                for (int64_t c = 0; c < count; c++) {                                              \
                    const int64_t j = from + c, k = j - d, high = rows[c] + (j < d ? 2 : 0);       \
                    const T *W = j < d ? first + j * e * h : other + k * e * h;                    \
                    T *gW = j < d ? gfirst + j * e * h : gother + k * e * h;                       \
                    const T *dQ = j < d ? Q : tables + c * table;                                  \
                    if (j < d) {                                                                   \
                        steps_of_##SUFFIX(rows[c], e, steps + j * m * e, slope + j * e,            \
                                          level + j * e, own);                                     \
                        bin_lines_grad_##SUFFIX(rows[c], h, starts + j * m, spans + j * m,         \
                                                tables + c * table, Q);                            \
                    } else                                                                         \
                        rows_of_##SUFFIX(rows[c], e, used + c * n, codes, own);                    \
                    matrix_product_##SUFFIX(e, h, high, own, 1, e, dQ, h, gW, h, 0, 0, 0, h, 0, 0);\
                    turned_##SUFFIX(e, h, W, turned);                                              \
                    matrix_product_##SUFFIX(high, e, h, dQ, h, 1, turned, e, down, e, 0, 0, 0, e, 0,\
                                            0);                                                    \
                    if (j < d) {                                                                   \
                        T *restrict g_in = gsteps + j * m * e;                                     \
                        for (int64_t q = 0; q < m * e; q++) g_in[q] = q < rows[c] * e ? down[q] : 0;\
                        for (int64_t q = 0; q < e; q++) {                                          \
                            gslope[j * e + q] = down[rows[c] * e + q];                             \
                            glevel[j * e + q] = down[rows[c] * e + e + q];                         \
                        }                                                                          \
                    } else                                                                         \
                        for (int64_t i = 0; i < rows[c]; i++)                                      \
                            for (int64_t q = 0; q < e; q++)                                        \
                                gcodes[used[c * n + i] * e + q] += down[i * e + q];                \
                }                                                                                  \
            }                                                                                      \
            if (d) {                                                                               \
                steps += to[0], slope += to[1], level += to[2], first += to[3], starts += to[4];   \
                spans += to[5], t += to[6], bins += to[7];                                         \
                gsteps += to[12], gslope += to[13], glevel += to[14], gfirst += to[15];            \
            }                                                                                      \
            if (f) {                                                                               \
                codes += to[8], other += to[9], at += to[10];                                      \
                gcodes += to[16], gother += to[17];                                                \
            }                                                                                      \
            if (gR) gR += to[18];                                                                  \
            R += to[11], P += columns * P_column, D += members * n * h;                            \
        }                                                                                          \
        return 1;                                                                                  \
    }

EACH_WIDTH(BIN_LINES)
EACH_WIDTH(BIN_LINES_GRAD)
EACH_WIDTH(LOOKED_UP)
EACH_WIDTH(ADDED_UP)
EACH_WIDTH(GATHERED)
EACH_WIDTH(TABLE_COLUMNS)
EACH_WIDTH(TABLE_COLUMNS_GRADS)
#endif
