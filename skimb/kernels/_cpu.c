/* Fused losses on the CPU: value and gradient in one pass, raw pointers, no torch headers.
 *
 * Compile with fast-math and never link with it: linking would switch the whole process to flushing
 * denormals. Exponents are kept above -87, where vector exp slows down and results turn denormal.
 * Every function exists for float and double; sums are accumulated in double.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* one binary for all x86-64 processors: the loader picks the widest version the machine runs */
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#define WIDE_CLONES
#else
#define CLONES
#endif

enum { CROSS_ENTROPY = 0, FOCAL = 1, POLY = 2 };

#define BLOCK 64

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Number of the signatures below: the loader refuses a library that was built for other ones. */
EXPORT int interface_version(void) { return 5; }

/* Whether all of n numbers index something of the given size; what fails here is never indexed with.
 * A number out of range, or its distance from the last one, has the sign bit.
 */
INLINE int all_inside(int64_t n, const int64_t *restrict index, int64_t size)
{
    const uint64_t last = (uint64_t)size - 1;
    uint64_t signs = 0;
    for (int64_t i = 0; i < n; i++) signs |= (uint64_t)index[i] | (last - (uint64_t)index[i]);
    return size > 0 ? !(signs >> 63) : n == 0;
}

/* log(1 + x) for x in [0, 1]: the series of 2 atanh(x / (2 + x)), whose argument is at most 1/3 */
INLINE float small_log1pf(float x)
{
    const float s = x / (2.0f + x), t = s * s;
    float sum = 1.0f / 15.0f;
    sum = sum * t + 1.0f / 13.0f;
    sum = sum * t + 1.0f / 11.0f;
    sum = sum * t + 1.0f / 9.0f;
    sum = sum * t + 1.0f / 7.0f;
    sum = sum * t + 1.0f / 5.0f;
    sum = sum * t + 1.0f / 3.0f;
    return 2.0f * s + 2.0f * s * t * sum;
}

/* ---- one logit per entry ------------------------------------------------------------------- */

/* v = sign * (k z + o) - margin of the side; loss = phi(softplus(-v)), grad = factor dloss/dz */
#define MARGIN_LOOP(NAME, T, EXP, LOG1P, FABS, FMAX)                                               \
    INLINE void NAME(int64_t n, const T *restrict z, const T *restrict sign, T *restrict loss,     \
                     T *restrict grad, const int shape, const int square, double param_, double k_, \
                     double o_, double m0_, double m1_, double factor_)                            \
    {                                                                                              \
        const T param = (T)param_, k = (T)k_, o = (T)o_;                                           \
        const T m_mid = (T)(0.5 * (m0_ + m1_)), m_half = (T)(0.5 * (m1_ - m0_));                   \
        const T slope_of = (T)(-factor_ * k_);                                                     \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                       \
        {                                                                                          \
            const T s = sign[i];                                                                   \
            const T v = s * (k * z[i] + o) - (m_mid + s * m_half);                                 \
            const T a = FABS(v);                                                                   \
            const T e = EXP(-(a < (T)87 ? a : (T)87));                                             \
            const T tail = LOG1P(e);                                                               \
            const T inv = (T)1 / ((T)1 + e);                                                       \
            const T l = tail + FMAX(-v, (T)0);                                                     \
            const T q = (v >= 0 ? e : (T)1) * inv;                                                 \
            const T p = (v >= 0 ? (T)1 : e) * inv;                                                 \
            T value = l, slope = q;                                                                \
            if (shape == FOCAL) {                                                                  \
                T power = q * q;                                                                   \
                if (!square) {                                                                     \
                    const T x = -param * (tail + FMAX(v, (T)0));                                   \
                    power = EXP(x > (T)-87 ? x : (T)-87);                                          \
                }                                                                                  \
                value = power * l;                                                                 \
                slope = power * (q + param * p * l);                                               \
            } else if (shape == POLY) {                                                            \
                value = l + param * q;                                                             \
                slope = q * ((T)1 + param * p);                                                    \
            }                                                                                      \
            loss[i] = value;                                                                       \
            grad[i] = slope_of * s * slope;                                                        \
        }                                                                                          \
    }

#define MARGIN_ROWS(NAME, LOOP, T)                                                                 \
    CLONES EXPORT void NAME(int64_t n, const T *z, const T *sign, T *loss, T *grad, int shape,     \
                            double param, double k, double o, double m0, double m1, double factor) \
    {                                                                                              \
        if (shape == FOCAL && param == 2.0)                                                        \
            LOOP(n, z, sign, loss, grad, FOCAL, 1, param, k, o, m0, m1, factor);                   \
        else if (shape == FOCAL)                                                                   \
            LOOP(n, z, sign, loss, grad, FOCAL, 0, param, k, o, m0, m1, factor);                   \
        else if (shape == POLY)                                                                    \
            LOOP(n, z, sign, loss, grad, POLY, 0, param, k, o, m0, m1, factor);                    \
        else                                                                                       \
            LOOP(n, z, sign, loss, grad, CROSS_ENTROPY, 0, param, k, o, m0, m1, factor);           \
    }

MARGIN_LOOP(margin_loop_f32, float, expf, small_log1pf, fabsf, fmaxf)
MARGIN_LOOP(margin_loop_f64, double, exp, log1p, fabs, fmax)
MARGIN_ROWS(margin_rows_f32, margin_loop_f32, float)
MARGIN_ROWS(margin_rows_f64, margin_loop_f64, double)

/* the same for members with a parameter of their own each */
#define MARGIN_MEMBERS(NAME, LOOP, T)                                                              \
    CLONES EXPORT void NAME(int64_t members, int64_t n, const T *z, const T *sign, T *loss,        \
                            T *grad, int shape, const T *params, double k, double o, double m0,    \
                            double m1, double factor)                                              \
    {                                                                                              \
        for (int64_t i = 0; i < members; i++, z += n, sign += n, loss += n, grad += n) {           \
            if (shape == FOCAL && params[i] == (T)2)                                               \
                LOOP(n, z, sign, loss, grad, FOCAL, 1, params[i], k, o, m0, m1, factor);           \
            else if (shape == FOCAL)                                                               \
                LOOP(n, z, sign, loss, grad, FOCAL, 0, params[i], k, o, m0, m1, factor);           \
            else                                                                                   \
                LOOP(n, z, sign, loss, grad, POLY, 0, params[i], k, o, m0, m1, factor);            \
        }                                                                                          \
    }

MARGIN_MEMBERS(margin_members_f32, margin_loop_f32, float)
MARGIN_MEMBERS(margin_members_f64, margin_loop_f64, double)

/* ---- one logit per class ------------------------------------------------------------------- */

/* Rows go through a transposed block, so that loops run over 64 rows whatever the number of classes. */
#define SOFTMAX_BLOCK(NAME, T, EXP, LOG1P, LOG)                                                    \
    CLONES static void NAME(int64_t rows, int64_t c_n, const T *restrict z,                        \
                            const int64_t *restrict y, const T *restrict bias,                     \
                            const T *restrict margin, T scale, int shape, T param, T factor,       \
                            T *restrict loss, T *restrict grad, T *restrict buf)                   \
    {                                                                                              \
        T top[BLOCK], own[BLOCK], rest[BLOCK], pos[BLOCK], mine[BLOCK];                            \
        for (int64_t r = 0; r < rows; r++)                                                         \
            for (int64_t c = 0; c < c_n; c++) buf[c * BLOCK + r] = z[r * c_n + c];                 \
        if (bias)                                                                                  \
            for (int64_t c = 0; c < c_n; c++)                                                      \
                for (int64_t r = 0; r < rows; r++) buf[c * BLOCK + r] += bias[c];                  \
        if (margin)                                                                                \
            for (int64_t r = 0; r < rows; r++) buf[y[r] * BLOCK + r] -= margin[y[r]];              \
        for (int64_t r = 0; r < rows; r++) top[r] = buf[r];                                        \
        for (int64_t c = 1; c < c_n; c++)                                                          \
            for (int64_t r = 0; r < rows; r++)                                                     \
                top[r] = buf[c * BLOCK + r] > top[r] ? buf[c * BLOCK + r] : top[r];                \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            rest[r] = 0;                                                                           \
            own[r] = scale * (buf[y[r] * BLOCK + r] - top[r]);                                     \
        }                                                                                          \
        for (int64_t c = 0; c < c_n; c++)                                                          \
            _Pragma("GCC ivdep") for (int64_t r = 0; r < rows; r++)                                \
            {                                                                                      \
                const T x = scale * (buf[c * BLOCK + r] - top[r]);                                 \
                const T e = EXP(x > (T)-87 ? x : (T)-87);                                          \
                buf[c * BLOCK + r] = e;                                                            \
                rest[r] += e;                                                                      \
            }                                                                                      \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            /* without the true class, so that sure rows keep their digits */                      \
            T others = 0;                                                                          \
            pos[r] = buf[y[r] * BLOCK + r];                                                        \
            if (rest[r] - pos[r] < (T)0.5 * rest[r]) {                                             \
                for (int64_t c = 0; c < c_n; c++) others += c == y[r] ? (T)0 : buf[c * BLOCK + r]; \
                rest[r] = others;                                                                  \
            } else                                                                                 \
                rest[r] -= pos[r];                                                                 \
        }                                                                                          \
        _Pragma("GCC ivdep") for (int64_t r = 0; r < rows; r++)                                    \
        {                                                                                          \
            const T sum = rest[r] + pos[r];                                                        \
            const T l = own[r] > (T)-80 ? LOG1P(rest[r] / pos[r]) : LOG(rest[r]) - own[r];         \
            const T q = rest[r] / sum, p = pos[r] / sum;                                           \
            T value = l, slope = (T)1;                                                             \
            if (shape == FOCAL) {                                                                  \
                const T log_q = LOG(rest[r] > (T)1e-37 ? rest[r] : (T)1e-37) - LOG(sum);           \
                const T x = param * log_q;                                                         \
                const T power = EXP(x > (T)-87 ? x : (T)-87);                                      \
                const T ratio = q > 0 ? l / q : (T)1;                                              \
                value = power * l;                                                                 \
                slope = power * ((T)1 + param * p * ratio);                                        \
            } else if (shape == POLY) {                                                            \
                value = l + param * q;                                                             \
                slope = (T)1 + param * p;                                                          \
            }                                                                                      \
            loss[r] = value;                                                                       \
            slope *= factor * scale;                                                               \
            mine[r] = -slope * q;                                                                  \
            top[r] = slope / sum;                                                                  \
        }                                                                                          \
        for (int64_t c = 0; c < c_n; c++)                                                          \
            for (int64_t r = 0; r < rows; r++) buf[c * BLOCK + r] *= top[r];                       \
        for (int64_t r = 0; r < rows; r++) buf[y[r] * BLOCK + r] = mine[r];                        \
        for (int64_t r = 0; r < rows; r++)                                                         \
            for (int64_t c = 0; c < c_n; c++) grad[r * c_n + c] = buf[c * BLOCK + r];              \
    }

/* Wide rows: the gradient itself is the workspace. */
#define SOFTMAX_WIDE(NAME, T, EXP, LOG1P, LOG)                                                     \
    CLONES static void NAME(int64_t c_n, const T *restrict z, int64_t y, const T *restrict bias,   \
                            const T *restrict margin, T scale, int shape, T param, T factor,       \
                            T *restrict loss, T *restrict grad)                                    \
    {                                                                                              \
        T top, all = 0;                                                                            \
        if (bias)                                                                                  \
            for (int64_t c = 0; c < c_n; c++) grad[c] = z[c] + bias[c];                            \
        else                                                                                       \
            for (int64_t c = 0; c < c_n; c++) grad[c] = z[c];                                      \
        if (margin) grad[y] -= margin[y];                                                          \
        top = grad[0];                                                                             \
        for (int64_t c = 1; c < c_n; c++) top = grad[c] > top ? grad[c] : top;                     \
        const T own = scale * (grad[y] - top);                                                     \
        for (int64_t c = 0; c < c_n; c++) {                                                        \
            const T x = scale * (grad[c] - top);                                                   \
            const T e = EXP(x > (T)-87 ? x : (T)-87);                                              \
            grad[c] = e;                                                                           \
            all += e;                                                                              \
        }                                                                                          \
        const T pos = grad[y];                                                                     \
        T rest = all - pos;                                                                        \
        if (rest < (T)0.5 * all) {                                                                 \
            T before = 0, after = 0;                                                               \
            for (int64_t c = 0; c < y; c++) before += grad[c];                                     \
            for (int64_t c = y + 1; c < c_n; c++) after += grad[c];                                \
            rest = before + after;                                                                 \
        }                                                                                          \
        const T sum = rest + pos;                                                                  \
        const T l = own > (T)-80 ? LOG1P(rest / pos) : LOG(rest) - own;                            \
        const T q = rest / sum, p = pos / sum;                                                     \
        T value = l, slope = (T)1;                                                                 \
        if (shape == FOCAL) {                                                                      \
            const T x = param * (LOG(rest > (T)1e-37 ? rest : (T)1e-37) - LOG(sum));               \
            const T power = EXP(x > (T)-87 ? x : (T)-87);                                          \
            const T ratio = q > 0 ? l / q : (T)1;                                                  \
            value = power * l;                                                                     \
            slope = power * ((T)1 + param * p * ratio);                                            \
        } else if (shape == POLY) {                                                                \
            value = l + param * q;                                                                 \
            slope = (T)1 + param * p;                                                              \
        }                                                                                          \
        *loss = value;                                                                             \
        slope *= factor * scale;                                                                   \
        const T each = slope / sum;                                                                \
        for (int64_t c = 0; c < c_n; c++) grad[c] *= each;                                         \
        grad[y] = -slope * q;                                                                      \
    }

/* Returns 0 and computes nothing if a class index is out of range. */
#define SOFTMAX_ROWS(NAME, T, NARROW, WIDE, NARROW_MAX)                                            \
    EXPORT int NAME(int64_t n, int64_t c_n, const T *z, const int64_t *y, const T *bias,           \
                    const T *margin, double scale, int shape, double param, double factor,         \
                    T *loss, T *grad)                                                              \
    {                                                                                              \
        if (!all_inside(n, y, c_n)) return 0;                                                      \
        if (c_n <= NARROW_MAX) {                                                                   \
            T buf[NARROW_MAX * BLOCK];                                                             \
            for (int64_t r = 0; r < n; r += BLOCK)                                                 \
                NARROW(n - r < BLOCK ? n - r : BLOCK, c_n, z + r * c_n, y + r, bias, margin,       \
                       (T)scale, shape, (T)param, (T)factor, loss + r, grad + r * c_n, buf);       \
        } else                                                                                     \
            for (int64_t r = 0; r < n; r++)                                                        \
                WIDE(c_n, z + r * c_n, y[r], bias, margin, (T)scale, shape, (T)param, (T)factor,   \
                     loss + r, grad + r * c_n);                                                    \
        return 1;                                                                                  \
    }

SOFTMAX_BLOCK(softmax_block_f32, float, expf, log1pf, logf)
SOFTMAX_BLOCK(softmax_block_f64, double, exp, log1p, log)
SOFTMAX_WIDE(softmax_wide_f32, float, expf, log1pf, logf)
SOFTMAX_WIDE(softmax_wide_f64, double, exp, log1p, log)
SOFTMAX_ROWS(softmax_rows_f32, float, softmax_block_f32, softmax_wide_f32, 48)
SOFTMAX_ROWS(softmax_rows_f64, double, softmax_block_f64, softmax_wide_f64, 48)

/* ---- asymmetric loss ------------------------------------------------------------------------ */

#define ASYMMETRIC_LOOP(NAME, T, EXP, LOG1P, LOG, FABS, FMAX)                                      \
    INLINE void NAME(int64_t n, const T *restrict z, const T *restrict sign, T *restrict loss,     \
                     T *restrict grad, double gamma_neg, double gamma_pos, const int clips,        \
                     double clip_, double factor_)                                                 \
    {                                                                                              \
        const T g_mid = (T)(0.5 * (gamma_pos + gamma_neg));                                        \
        const T g_half = (T)(0.5 * (gamma_pos - gamma_neg));                                       \
        const T clip = (T)clip_, factor = (T)factor_, tiny = (T)1e-30;                             \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                       \
        {                                                                                          \
            const T s = sign[i], v = s * z[i], a = FABS(v);                                        \
            const T e = EXP(-(a < (T)87 ? a : (T)87));                                             \
            const T inv = (T)1 / ((T)1 + e), tail = LOG1P(e);                                      \
            const T q = (v >= 0 ? e : (T)1) * inv, p = (v >= 0 ? (T)1 : e) * inv;                  \
            const T gamma = g_mid + s * g_half;                                                    \
            T log_p = -(tail + FMAX(-v, (T)0)), log_rest = -(tail + FMAX(v, (T)0));                \
            T share = q, focus = gamma * p, on = (T)1;                                             \
            if (clips) {                                                                           \
                const T rest = FMAX(q - clip, (T)0), total = p + clip;                             \
                const T floor = FMAX(rest, tiny);                                                  \
                const T log_total = LOG(total < (T)1 ? total : (T)1);                              \
                const T clipped = LOG(floor);                                                      \
                const int negative = s < 0;                                                        \
                on = negative && rest <= 0 ? (T)0 : (T)1;                                          \
                log_p = negative ? log_total : log_p;                                              \
                log_rest = negative ? clipped : log_rest;                                          \
                share = negative ? q * p / total : q;                                              \
                focus = negative ? focus * q / floor : focus;                                      \
            }                                                                                      \
            const T x = gamma * log_rest;                                                          \
            const T power = on * EXP(x > (T)-87 ? x : (T)-87);                                     \
            loss[i] = -power * log_p;                                                              \
            grad[i] = factor * s * power * (on * focus * log_p - share);                           \
        }                                                                                          \
    }

#define ASYMMETRIC(NAME, LOOP, T)                                                                  \
    CLONES EXPORT void NAME(int64_t n, const T *z, const T *sign, T *loss, T *grad,                \
                            double gamma_neg, double gamma_pos, double clip, double factor)        \
    {                                                                                              \
        if (clip > 0)                                                                              \
            LOOP(n, z, sign, loss, grad, gamma_neg, gamma_pos, 1, clip, factor);                   \
        else                                                                                       \
            LOOP(n, z, sign, loss, grad, gamma_neg, gamma_pos, 0, clip, factor);                   \
    }

ASYMMETRIC_LOOP(asymmetric_loop_f32, float, expf, small_log1pf, logf, fabsf, fmaxf)
ASYMMETRIC_LOOP(asymmetric_loop_f64, double, exp, log1p, log, fabs, fmax)
ASYMMETRIC(asymmetric_f32, asymmetric_loop_f32, float)
ASYMMETRIC(asymmetric_f64, asymmetric_loop_f64, double)

/* ---- soft confusion counts ------------------------------------------------------------------ */

/* A = sigmoid(L (p - threshold)), by way of tanh(z / 2); sums of A over positives and negatives,
 * and the slope of A without its factor L in passing. */
#define COUNTS_LOOP(NAME, T, EXP, FABS)                                                            \
    INLINE void NAME(int64_t n, const T *restrict z, const T *restrict sign,                       \
                     const T *restrict weight, const int weighted, double sharpness,               \
                     double shift_, double *restrict out, T *restrict slope)                       \
    {                                                                                              \
        const T half = (T)(0.5 * sharpness), shift = (T)shift_;                                    \
        double tp = 0, fp = 0, p_n = 0, n_n = 0;                                                   \
        for (int64_t start = 0; start < n; start += 4096) {                                        \
            const int64_t end = start + 4096 < n ? start + 4096 : n;                               \
            T t = 0, f = 0, pos = 0, neg = 0;                                                      \
            for (int64_t i = start; i < end; i++) {                                                \
                const T a = FABS(z[i]), e = EXP(-(a < (T)87 ? a : (T)87));                         \
                const T inv = (T)1 / ((T)1 + e), mag = ((T)1 - e) * inv;                           \
                const T u = half * (z[i] >= 0 ? mag : -mag) + shift;                               \
                const T b = FABS(u), d = EXP(-(b < (T)87 ? b : (T)87));                            \
                const T back = (T)1 / ((T)1 + d);                                                  \
                const T soft = (u >= 0 ? (T)1 : d) * back;                                         \
                const T w = weighted ? weight[i] : (T)1, wp = (T)0.5 * w * (sign[i] + (T)1);       \
                t += wp * soft;                                                                    \
                f += (w - wp) * soft;                                                              \
                pos += wp;                                                                         \
                neg += w - wp;                                                                     \
                slope[i] = (d * back * back) * (e * inv * inv);                                    \
            }                                                                                      \
            tp += t;                                                                               \
            fp += f;                                                                               \
            p_n += pos;                                                                            \
            n_n += neg;                                                                            \
        }                                                                                          \
        out[0] = tp;                                                                               \
        out[1] = fp;                                                                               \
        out[2] = p_n;                                                                              \
        out[3] = n_n;                                                                              \
    }

#define COUNTS(NAME, LOOP, T)                                                                      \
    CLONES EXPORT void NAME(int64_t n, const T *z, const T *sign, const T *weight,                 \
                            double sharpness, double shift, double *out, T *slope)                 \
    {                                                                                              \
        if (weight)                                                                                \
            LOOP(n, z, sign, weight, 1, sharpness, shift, out, slope);                             \
        else                                                                                       \
            LOOP(n, z, sign, weight, 0, sharpness, shift, out, slope);                             \
    }

COUNTS_LOOP(counts_loop_f32, float, expf, fabsf)
COUNTS_LOOP(counts_loop_f64, double, exp, fabs)
COUNTS(confusion_counts_f32, counts_loop_f32, float)
COUNTS(confusion_counts_f64, counts_loop_f64, double)

/* the slope of the soft decisions, left in grad by the counts, becomes -(w_pos d_t + w_neg d_f) dA/dz */
#define COUNTS_GRAD(NAME, T)                                                                       \
    CLONES EXPORT void NAME(int64_t n, const T *restrict sign, const T *restrict weight,           \
                            double sharpness, double d_t, double d_f, T *restrict grad)            \
    {                                                                                              \
        const T lean = (T)(0.5 * sharpness * (d_f - d_t));                                         \
        const T level = (T)(-0.5 * sharpness * (d_f + d_t));                                       \
        if (weight)                                                                                \
            for (int64_t i = 0; i < n; i++) grad[i] *= weight[i] * (lean * sign[i] + level);       \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) grad[i] *= lean * sign[i] + level;                     \
    }

COUNTS_GRAD(confusion_grad_f32, float)
COUNTS_GRAD(confusion_grad_f64, double)

/* ---- the last hidden layer of many nets with one output each --------------------------------- */

/* Whichever of members and rows is farther apart in memory is the outer loop. */

#define RELU_OUTPUT(NAME, T)                                                                       \
    CLONES EXPORT void NAME(int64_t members, int64_t n, int64_t h, int64_t member_stride,          \
                            int64_t row_stride, T *restrict a, const T *restrict w,                \
                            const T *restrict b, T *restrict z)                                    \
    {                                                                                              \
        const int64_t outer = member_stride > row_stride && members > 1 ? members : 1;             \
        const int64_t inner = members / outer;                                                     \
        for (int64_t o = 0; o < outer; o++)                                                        \
            for (int64_t r = 0; r < n; r++)                                                        \
                for (int64_t k = o; k < o + inner; k++) {                                          \
                    T *restrict x = a + k * member_stride + r * row_stride;                        \
                    const T *restrict wk = w + k * h;                                              \
                    T sum = 0;                                                                     \
                    for (int64_t j = 0; j < h; j++) {                                              \
                        const T v = x[j] < 0 ? 0 : x[j];                                           \
                        x[j] = v;                                                                  \
                        sum += v * wk[j];                                                          \
                    }                                                                              \
                    z[k * n + r] = sum + b[k];                                                     \
                }                                                                                  \
    }

#define RELU_OUTPUT_GRAD(NAME, T)                                                                  \
    CLONES EXPORT void NAME(int64_t members, int64_t n, int64_t h, int64_t member_stride,          \
                            int64_t row_stride, const T *restrict d, const T *restrict a,          \
                            const T *restrict w, T *restrict out, T *restrict gw,                  \
                            T *restrict gb)                                                        \
    {                                                                                              \
        for (int64_t i = 0; i < members * h; i++) gw[i] = gb[i] = 0;                               \
        const int64_t outer = member_stride > row_stride && members > 1 ? members : 1;             \
        const int64_t inner = members / outer;                                                     \
        for (int64_t o = 0; o < outer; o++)                                                        \
            for (int64_t r = 0; r < n; r++)                                                        \
                for (int64_t k = o; k < o + inner; k++) {                                          \
                    const int64_t at = k * member_stride + r * row_stride;                         \
                    const T *restrict x = a + at, *restrict wk = w + k * h;                        \
                    T *restrict g = out + at, *restrict gwk = gw + k * h, *restrict gbk = gb + k * h; \
                    const T slope = d[k * n + r];                                                  \
                    for (int64_t j = 0; j < h; j++) {                                              \
                        const T v = x[j] > 0 ? slope * wk[j] : 0;                                  \
                        g[j] = v;                                                                  \
                        gbk[j] += v;                                                               \
                        gwk[j] += slope * x[j];                                                    \
                    }                                                                              \
                }                                                                                  \
    }

RELU_OUTPUT(relu_output_f32, float)
RELU_OUTPUT(relu_output_f64, double)
RELU_OUTPUT_GRAD(relu_output_grad_f32, float)
RELU_OUTPUT_GRAD(relu_output_grad_f64, double)

/* ---- piecewise linear embeddings of columns by look-ups ------------------------------------------ */

/* V, w, b, bins and t have strides between nets, 0 where nets share them; all else lies without gaps.
 * Both return 0 if a bin lies outside of its column; what was written until then is of no use. */
#define PIECEWISE_ROWS(NAME, T)                                                                    \
    CLONES EXPORT int NAME(int64_t nets, int64_t d, int64_t m, int64_t e, int64_t n, int64_t to_V, \
                           int64_t to_w, int64_t to_b, int64_t to_bins, int64_t to_t,              \
                           const T *restrict V, const T *restrict w, const T *restrict b,          \
                           const int32_t *restrict bins, const T *restrict t,                      \
                           const T *restrict starts, const T *restrict spans, T *restrict table,   \
                           T *restrict out)                                                        \
    {                                                                                              \
        for (int64_t g = 0; g < nets; g++)                                                         \
            for (int64_t f = 0; f < d; f++) {                                                      \
                const T *restrict steps = V + g * to_V + f * m * e;                                \
                const T *restrict slope = w + g * to_w + f * e, *restrict level = b + g * to_b + f * e; \
                const T *restrict s = starts + (g * d + f) * m, *restrict r = spans + (g * d + f) * m; \
                for (int64_t j = 0; j < m; j++) {                                                  \
                    T *restrict row = table + 2 * j * e;                                           \
                    for (int64_t q = 0; q < e; q++) {                                              \
                        row[q] = level[q] + s[j] * slope[q];                                       \
                        row[e + q] = steps[j * e + q] + r[j] * slope[q];                           \
                    }                                                                              \
                }                                                                                  \
                for (int64_t q = 0; q < e; q++) {                                                  \
                    T sum = 0;                                                                     \
                    for (int64_t j = 1; j < m; j++) {                                              \
                        table[2 * j * e + q] += sum;                                               \
                        sum += steps[j * e + q];                                                   \
                    }                                                                              \
                }                                                                                  \
                T *restrict rows = out + (g * d + f) * n * e;                                      \
                for (int64_t i = 0; i < n; i++) {                                                  \
                    const int64_t j = bins[g * to_bins + i * d + f] - f * m;                       \
                    const T part = t[g * to_t + i * d + f];                                        \
                    if (j < 0 || j >= m) return 0;                                                 \
                    const T *restrict row = table + 2 * j * e;                                     \
                    for (int64_t q = 0; q < e; q++) rows[i * e + q] = row[q] + part * row[e + q];  \
                }                                                                                  \
            }                                                                                      \
        return 1;                                                                                  \
    }

#define PIECEWISE_GRADS(NAME, T)                                                                   \
    CLONES EXPORT int NAME(int64_t nets, int64_t d, int64_t m, int64_t e, int64_t n, int64_t to_V, \
                           int64_t to_w, int64_t to_b, int64_t to_bins, int64_t to_t,              \
                           T *restrict V, T *restrict w, T *restrict b,                            \
                           const int32_t *restrict bins, const T *restrict t,                      \
                           const T *restrict starts, const T *restrict spans, T *restrict table,   \
                           const T *restrict grad)                                                 \
    {                                                                                              \
        for (int64_t g = 0; g < nets; g++)                                                         \
            for (int64_t f = 0; f < d; f++) {                                                      \
                T *restrict steps = V + g * to_V + f * m * e;                                      \
                T *restrict slope = w + g * to_w + f * e, *restrict level = b + g * to_b + f * e;  \
                const T *restrict s = starts + (g * d + f) * m, *restrict r = spans + (g * d + f) * m; \
                const T *restrict rows = grad + (g * d + f) * n * e;                               \
                for (int64_t q = 0; q < 2 * m * e; q++) table[q] = 0;                              \
                for (int64_t i = 0; i < n; i++) {                                                  \
                    const int64_t j = bins[g * to_bins + i * d + f] - f * m;                       \
                    const T part = t[g * to_t + i * d + f];                                        \
                    if (j < 0 || j >= m) return 0;                                                 \
                    T *restrict row = table + 2 * j * e;                                           \
                    for (int64_t q = 0; q < e; q++) {                                              \
                        row[q] += rows[i * e + q];                                                 \
                        row[e + q] += part * rows[i * e + q];                                      \
                    }                                                                              \
                }                                                                                  \
                for (int64_t q = 0; q < e; q++) slope[q] = level[q] = 0;                           \
                for (int64_t j = m - 1; j >= 0; j--) {                                             \
                    const T *restrict row = table + 2 * j * e;                                     \
                    const int counts = j > 0; /* V_0 enters no other bin, nor others bin 0 */      \
                    for (int64_t q = 0; q < e; q++) {                                              \
                        steps[j * e + q] = row[e + q] + (counts ? level[q] : 0);                   \
                        slope[q] += s[j] * row[q] + r[j] * row[e + q];                             \
                        level[q] += row[q]; /* so far the sums of the bins above */                \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        return 1;                                                                                  \
    }

PIECEWISE_ROWS(piecewise_rows_f32, float)
PIECEWISE_ROWS(piecewise_rows_f64, double)
PIECEWISE_GRADS(piecewise_grads_f32, float)
PIECEWISE_GRADS(piecewise_grads_f64, double)

#include "_products.h"
#include "_columns.h"

/* ---- CSR rows times a table, and back --------------------------------------------------------- */

/* rows of large tables lie far apart: those to come are asked for while the present one is read */
#if defined(__GNUC__)
#define AHEAD(ADDRESS, WRITES) __builtin_prefetch(ADDRESS, WRITES)
#else
#define AHEAD(ADDRESS, WRITES) ((void)(ADDRESS))
#endif
#define DISTANCE 8

/* Whether rows begin in order and columns lie inside; what fails here is never indexed with. */
INLINE int all_in_order(int64_t n, int64_t nnz, const int32_t *restrict indptr,
                        const int32_t *restrict indices, int64_t d)
{
    uint32_t last = 0, outside = 0;
    if (d > INT32_MAX || indptr[0] != 0 || indptr[n] != nnz) return 0;
    for (int64_t r = 0; r < n; r++)
        if (indptr[r] > indptr[r + 1]) return 0;
    if (nnz && d <= 0) return 0;
    last = (uint32_t)(d - 1);
    for (int64_t i = 0; i < nnz; i++) outside |= (uint32_t)indices[i] > last;
    return !outside;
}

/* Both return 0 and compute nothing if the rows are not as said. */
#define CSR_PRODUCT(NAME, T)                                                                       \
    CLONES EXPORT int NAME(int64_t n, int64_t width, int64_t d, int64_t nnz,                       \
                           const int32_t *restrict indptr, const int32_t *restrict indices,        \
                           const T *restrict data, const T *restrict table, T *restrict out)       \
    {                                                                                              \
        if (!all_in_order(n, nnz, indptr, indices, d)) return 0;                                   \
        for (int64_t r = 0; r < n; r++) {                                                          \
            T *restrict o = out + r * width;                                                       \
            for (int64_t j = 0; j < width; j++) o[j] = 0;                                          \
            for (int64_t i = indptr[r]; i < indptr[r + 1]; i++) {                                  \
                const T x = data[i], *restrict w = table + (int64_t)indices[i] * width;            \
                if (i + DISTANCE < nnz)                                                            \
                    for (int64_t j = 0; j < width; j += 64 / (int64_t)sizeof(T))                   \
                        AHEAD(table + (int64_t)indices[i + DISTANCE] * width + j, 0);              \
                for (int64_t j = 0; j < width; j++) o[j] += x * w[j];                              \
            }                                                                                      \
        }                                                                                          \
        return 1;                                                                                  \
    }

#define CSR_PRODUCT_GRAD(NAME, T)                                                                  \
    CLONES EXPORT int NAME(int64_t n, int64_t width, int64_t height, int64_t nnz,                  \
                           const int32_t *restrict indptr, const int32_t *restrict indices,        \
                           const T *restrict data, const T *restrict grad, T *restrict out)        \
    {                                                                                              \
        if (!all_in_order(n, nnz, indptr, indices, height)) return 0;                              \
        for (int64_t j = 0; j < height * width; j++) out[j] = 0;                                   \
        for (int64_t r = 0; r < n; r++) {                                                          \
            const T *restrict g = grad + r * width;                                                \
            for (int64_t i = indptr[r]; i < indptr[r + 1]; i++) {                                  \
                const T x = data[i];                                                               \
                T *restrict o = out + (int64_t)indices[i] * width;                                 \
                if (i + DISTANCE < nnz)                                                            \
                    for (int64_t j = 0; j < width; j += 64 / (int64_t)sizeof(T))                   \
                        AHEAD(out + (int64_t)indices[i + DISTANCE] * width + j, 1);                \
                for (int64_t j = 0; j < width; j++) o[j] += x * g[j];                              \
            }                                                                                      \
        }                                                                                          \
        return 1;                                                                                  \
    }

CSR_PRODUCT(csr_product_f32, float)
CSR_PRODUCT(csr_product_f64, double)
CSR_PRODUCT_GRAD(csr_product_grad_f32, float)
CSR_PRODUCT_GRAD(csr_product_grad_f64, double)

/* ---- Adam on some rows of a table, with moments that catch up ---------------------------------- */

/* Returns 0 and changes nothing if a row lies outside the table. */
#define LAZY_ADAM(NAME, T, SQRT)                                                                   \
    CLONES EXPORT int NAME(int64_t rows, int64_t width, int64_t height,                            \
                           const int64_t *restrict used, const T *restrict grad,                   \
                           T *restrict table, T *restrict first, T *restrict second,               \
                           const T *restrict kept1, const T *restrict kept2,                       \
                           const T *restrict move, const T *restrict lr, const T *restrict l2,     \
                           const T *restrict decay, double beta1_, double beta2_, double eps_,     \
                           double floor_, double correction1, double correction2)                  \
    {                                                                                              \
        if (!all_inside(rows, used, height)) return 0;                                             \
        const T rest1 = (T)(1.0 - beta1_), beta2 = (T)beta2_, rest2 = (T)(1.0 - beta2_);           \
        const T eps = (T)eps_, least = (T)floor_;                                                  \
        const T scale = (T)(1.0 / correction1), root = (T)(1.0 / sqrt(correction2));               \
        for (int64_t r = 0; r < rows; r++) {                                                       \
            const int64_t at = used[r] * width;                                                    \
            T *restrict w = table + at, *restrict m = first + at, *restrict v = second + at;       \
            const T *restrict g_in = grad + r * width;                                             \
            const T k1 = kept1[r], k2 = kept2[r], far = move[r];                                   \
            if (r + 2 < rows)                                                                      \
                for (int64_t j = 0; j < width; j += 64 / (int64_t)sizeof(T)) {                     \
                    const int64_t next = used[r + 2] * width + j;                                  \
                    AHEAD(table + next, 1);                                                        \
                    AHEAD(first + next, 1);                                                        \
                    AHEAD(second + next, 1);                                                       \
                }                                                                                  \
            for (int64_t j = 0; j < width; j++) {                                                  \
                const T g = g_in[j] + l2[j] * w[j];                                                \
                T x = w[j] * ((T)1 - lr[j] * decay[j]);                                            \
                x -= lr[j] * far * m[j] / (T)SQRT(v[j] + least);                                   \
                T a = m[j] * k1, b = v[j] * k2;                                                    \
                a += rest1 * (g - a);                                                              \
                b = beta2 * b + rest2 * g * g;                                                     \
                x -= lr[j] * scale * a / ((T)SQRT(b) * root + eps);                                \
                w[j] = x;                                                                          \
                m[j] = a;                                                                          \
                v[j] = b;                                                                          \
            }                                                                                      \
        }                                                                                          \
        return 1;                                                                                  \
    }

LAZY_ADAM(lazy_adam_f32, float, sqrtf)
LAZY_ADAM(lazy_adam_f64, double, sqrt)

/* ---- an empty Python module, so that the file installs and loads like any extension ---------- */

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cpu", "Fused losses; called through ctypes.", -1, NULL,
    NULL,                  NULL,   NULL,                                    NULL};

PyMODINIT_FUNC PyInit__cpu(void) { return PyModule_Create(&definition); }
