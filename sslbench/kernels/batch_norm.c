/* Batch normalisation and a leaky ReLU after it, forward and backward, with the additions around it
 * in residual networks: of the skip and the branch that are normalised, or of the skip to what is.
 *
 * Images are (rows, channels): all pixels of a batch in channels_last order; numbers of channels
 * are multiples of 16. Memory is what these operations wait for, so a pass over it does all it can:
 * two forward (statistics; result) and two backward (sums; gradient). The second goes from the end,
 * which the processor's cache may still hold. Everything is computed in float, sums of blocks of
 * rows in double.
 *
 * Compiled with -DBF16 elements are bfloat16, else float.
 */

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

static inline vector load_floats(const float *from)
{
    vector values;
    memcpy(&values, from, sizeof values);
    return values;
}

static inline void store_floats(float *to, vector values) { memcpy(to, &values, sizeof values); }

/* `yes` where `chosen` has all bits set, `no` where it has none. */
static inline words choose(words chosen, words yes, words no)
{
    return (chosen & yes) | (~chosen & no);
}

#ifdef BF16
typedef uint16_t element;
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

static inline vector load(const element *from)
{
    halves bits;
    memcpy(&bits, from, sizeof bits);
    return (vector)(__builtin_convertvector(bits, words) << 16);
}

/* Rounded to the nearest, ties to even; what is not a number stays so. */
static inline void store(element *to, vector values)
{
#if defined(__AVX512BF16__)
    _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh(values));
#else
    words bits = (words)values;
    words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    words no_number = (words)((bits & 0x7fffffff) > 0x7f800000);
    halves narrow = __builtin_convertvector(
        choose(no_number, (bits - bits) + 0x7fc0, rounded), halves);
    memcpy(to, &narrow, sizeof narrow);
#endif
}
#else
typedef float element;

static inline vector load(const element *from) { return load_floats(from); }
static inline void store(element *to, vector values) { store_floats(to, values); }
#endif

/* `value` above zero, else `other`; `z` decides. */
static inline vector where_positive(vector z, vector value, vector other)
{
    return (vector)choose((words)(z > 0), (words)value, (words)other);
}

enum { BLOCK = 128 }; /* Rows whose sums are kept in float. */

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Vectors of a row that are summed at a time, so that their sums stay in registers. */
static int vectors_at_a_time(int64_t channels)
{
    int64_t vectors = channels / LANES;
    return vectors % 4 == 0 ? 4 : vectors % 2 == 0 ? 2 : 1;
}

/* A function of a constant number of vectors, `vectors`, at a time. */
#define FOR_VECTORS static inline __attribute__((always_inline)) void
#define WITH_VECTORS(function, vectors, ...)                                                       \
    switch (vectors) {                                                                             \
    case 4:                                                                                        \
        function(4, __VA_ARGS__);                                                                  \
        break;                                                                                     \
    case 2:                                                                                        \
        function(2, __VA_ARGS__);                                                                  \
        break;                                                                                     \
    default:                                                                                       \
        function(1, __VA_ARGS__);                                                                  \
    }

static inline void add_to(double *total, vector values)
{
    for (int lane = 0; lane < LANES; lane++)
        total[lane] += values[lane];
}

/* Adds the sums and squares of `rows` rows of some channels to `total` and `total_squares`, after
 * `pivot` is taken off. With `before` rows are sums of `x` and it, and are written to `joined`. */
FOR_VECTORS add_statistics(int vectors, const element *x, const element *before, element *joined,
                           int64_t rows, int64_t channels, const float *pivot, double *total,
                           double *total_squares)
{
    vector sum[4] = {0}, squares[4] = {0}, around[4];
    for (int v = 0; v < vectors; v++)
        around[v] = load_floats(pivot + v * LANES);
    for (int64_t row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) {
            int64_t at = row * channels + v * LANES;
            vector value = load(x + at);
            if (before) {
                store(joined + at, value + load(before + at));
                value = load(joined + at);
            }
            value -= around[v];
            sum[v] += value;
            squares[v] += value * value;
        }
    for (int v = 0; v < vectors; v++) {
        add_to(total + v * LANES, sum[v]);
        add_to(total_squares + v * LANES, squares[v]);
    }
}

/* Adds the sums of `rows` rows of gradients by z, and of their products with deviations. With `y`,
 * not NULL, z had `after` added to it: its sign is y's, and its gradient, written to `dafter`. */
FOR_VECTORS add_gradients(int vectors, const element *x, const element *dy, const element *y,
                          element *dafter, int64_t rows, int64_t channels, const float *scale,
                          const float *shift, const float *mean, float slope, double *total,
                          double *total_products)
{
    vector sum[4] = {0}, products[4] = {0};
    for (int64_t row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) {
            int64_t at = row * channels + v * LANES;
            vector value = load(x + at), gradient = load(dy + at);
            if (y) {
                store(dafter + at, where_positive(load(y + at), gradient, gradient * slope));
                gradient = load(dafter + at);
            } else {
                vector z = value * load_floats(scale + v * LANES) + load_floats(shift + v * LANES);
                gradient = where_positive(z, gradient, gradient * slope);
            }
            sum[v] += gradient;
            products[v] += gradient * (value - load_floats(mean + v * LANES));
        }
    for (int v = 0; v < vectors; v++) {
        add_to(total + v * LANES, sum[v]);
        add_to(total_products + v * LANES, products[v]);
    }
}

/* Adds what threads left in `partial`, (threads, 2, channels), up in the first of them. */
static void add_up(double *partial, int num_threads, int64_t channels)
{
    for (int thread = 1; thread < num_threads; thread++)
        for (int64_t i = 0; i < 2 * channels; i++)
            partial[i] += partial[thread * 2 * channels + i];
}

/* Writes the statistics of this thread's rows to its part of `partial`. */
static void sum_statistics(const element *x, const element *before, element *joined,
                           const float *pivot, double *total, int64_t first, int64_t last,
                           int64_t channels)
{
    int vectors = vectors_at_a_time(channels);
    memset(total, 0, 2 * channels * sizeof *total);
    for (int64_t start = first; start < last; start += BLOCK) {
        int64_t count = smaller(BLOCK, last - start);
        for (int64_t c = 0; c < channels; c += vectors * LANES) {
            int64_t at = start * channels + c;
            double *sums = total + c, *squares = sums + channels;
            if (before) {
                WITH_VECTORS(add_statistics, vectors, x + at, before + at, joined + at, count,
                             channels, pivot + c, sums, squares)
            } else {
                WITH_VECTORS(add_statistics, vectors, x + at, NULL, NULL, count, channels,
                             pivot + c, sums, squares)
            }
        }
    }
}

/* The result of rows, from the last to the first, z being scaled and shifted `x`; with `before`, of
 * the sum of `x` and it, which is written to `joined`; with `after`, that is added to z. */
static inline __attribute__((always_inline)) void
write_results(const element *x, const element *before, element *joined, const element *after,
              element *y, const float *scale, const float *shift, int64_t first, int64_t last,
              int64_t channels, float slope)
{
    for (int64_t row = last - 1; row >= first; row--)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t at = row * channels + c;
            vector value = load(x + at);
            if (before) {
                store(joined + at, value + load(before + at));
                value = load(joined + at);
            }
            vector z = value * load_floats(scale + c) + load_floats(shift + c);
            if (after)
                z += load(after + at);
            store(y + at, where_positive(z, z, z * slope));
        }
}

/* `y` is the result. With `before`, not NULL, what is normalised is the sum of `x` and it, which
 * `joined` becomes; `after`, not NULL, is added to what is normalised. `mean` and `variance`
 * (biased) are given where `partial` is NULL; else they are results, and it is room for
 * 2 x channels per thread. */
void forward(const element *x, const element *before, element *joined, const element *after,
             element *y, const float *weight, const float *bias, float *mean, float *variance,
             double *partial, int64_t rows, int64_t channels, float eps, float slope,
             int max_threads)
{
#pragma omp parallel num_threads(max_threads)
    {
        int thread = omp_get_thread_num(), num_threads = omp_get_num_threads();
        int64_t first = rows * thread / num_threads, last = rows * (thread + 1) / num_threads;
        float pivot[channels], scale[channels], shift[channels];

        if (partial) {
            /* Around the first row, so that squares of a large mean do not swallow the variance. */
            for (int64_t c = 0; c < channels; c += LANES)
                store_floats(pivot + c, before ? load(x + c) + load(before + c) : load(x + c));
            sum_statistics(x, before, joined, pivot, partial + thread * 2 * channels, first, last,
                           channels);
#pragma omp barrier
#pragma omp single
            {
                add_up(partial, num_threads, channels);
                for (int64_t c = 0; c < channels; c++) {
                    double shifted = partial[c] / rows;
                    double spread = partial[channels + c] / rows - shifted * shifted;
                    mean[c] = (float)(shifted + pivot[c]);
                    variance[c] = spread < 0 ? 0 : (float)spread;
                }
            }
        }
        for (int64_t c = 0; c < channels; c++) {
            scale[c] = weight[c] / sqrtf(variance[c] + eps);
            shift[c] = bias[c] - mean[c] * scale[c];
        }
        if (before && !partial)
            write_results(x, before, joined, after, y, scale, shift, first, last, channels, slope);
        else if (after)
            write_results(before ? joined : x, NULL, NULL, after, y, scale, shift, first, last,
                          channels, slope);
        else
            write_results(before ? joined : x, NULL, NULL, NULL, y, scale, shift, first, last,
                          channels, slope);
    }
}

/* Writes the sums of this thread's rows of gradients to its part of `partial`. */
static void sum_gradients(const element *x, const element *dy, const element *y, element *dafter,
                          const float *scale, const float *shift, const float *mean, double *total,
                          int64_t first, int64_t last, int64_t channels, float slope)
{
    int vectors = vectors_at_a_time(channels);
    memset(total, 0, 2 * channels * sizeof *total);
    for (int64_t start = first; start < last; start += BLOCK) {
        int64_t count = smaller(BLOCK, last - start);
        for (int64_t c = 0; c < channels; c += vectors * LANES) {
            int64_t at = start * channels + c;
            double *sums = total + c, *products = sums + channels;
            if (y) {
                WITH_VECTORS(add_gradients, vectors, x + at, dy + at, y + at, dafter + at, count,
                             channels, scale + c, shift + c, mean + c, slope, sums, products)
            } else {
                WITH_VECTORS(add_gradients, vectors, x + at, dy + at, NULL, NULL, count, channels,
                             scale + c, shift + c, mean + c, slope, sums, products)
            }
        }
    }
}

/* Of each channel. */
typedef struct {
    const float *scale, *shift, *mean, *mean_gradient, *per_deviation;
} Coefficients;

/* The gradients by rows of `x`, from the last to the first; with `passed`, that is added. That by z
 * is `dafter`, where it is not NULL. */
static inline __attribute__((always_inline)) void
write_gradients(const element *x, const element *dy, const element *dafter, const element *passed,
                element *dx, Coefficients by, int64_t first, int64_t last, int64_t channels,
                float slope)
{
    for (int64_t row = last - 1; row >= first; row--)
        for (int64_t c = 0; c < channels; c += LANES) {
            int64_t at = row * channels + c;
            vector value = load(x + at), scale = load_floats(by.scale + c), gradient;
            if (dafter) {
                gradient = load(dafter + at);
            } else {
                vector z = value * scale + load_floats(by.shift + c);
                gradient = load(dy + at);
                gradient = where_positive(z, gradient, gradient * slope);
            }
            value -= load_floats(by.mean + c);
            gradient -= load_floats(by.mean_gradient + c);
            gradient -= value * load_floats(by.per_deviation + c);
            gradient *= scale;
            store(dx + at, passed ? gradient + load(passed + at) : gradient);
        }
}

/* `dx`, `dafter`, `dweight` and `dbias` are results: gradients, as `dy` is. `y`, and with it
 * `dafter`, is NULL where nothing was added after the normalisation. `passed`, where not NULL, is
 * the gradient by what is normalised, `x`, of what else it is used for, and is added to `dx`. */
void backward(const element *x, const element *dy, const element *y, const element *passed,
              element *dx, element *dafter, const float *weight, const float *bias,
              const float *mean, const float *variance, float *dweight, float *dbias,
              double *partial, int64_t rows, int64_t channels, float eps, float slope,
              int max_threads)
{
#pragma omp parallel num_threads(max_threads)
    {
        int thread = omp_get_thread_num(), num_threads = omp_get_num_threads();
        int64_t first = rows * thread / num_threads, last = rows * (thread + 1) / num_threads;
        float scale[channels], shift[channels], mean_gradient[channels], per_deviation[channels];

        for (int64_t c = 0; c < channels; c++) {
            scale[c] = weight[c] / sqrtf(variance[c] + eps);
            shift[c] = bias[c] - mean[c] * scale[c];
        }
        sum_gradients(x, dy, y, dafter, scale, shift, mean, partial + thread * 2 * channels, first,
                      last, channels, slope);
#pragma omp barrier
#pragma omp single
        {
            add_up(partial, num_threads, channels);
            for (int64_t c = 0; c < channels; c++) {
                dbias[c] = (float)partial[c];
                dweight[c] = (float)(partial[channels + c] / sqrtf(variance[c] + eps));
            }
        }
        for (int64_t c = 0; c < channels; c++) {
            mean_gradient[c] = (float)(partial[c] / rows);
            per_deviation[c] = (float)(partial[channels + c] / rows / (variance[c] + eps));
        }
        Coefficients by = {scale, shift, mean, mean_gradient, per_deviation};
        if (y && passed)
            write_gradients(x, NULL, dafter, passed, dx, by, first, last, channels, slope);
        else if (y)
            write_gradients(x, NULL, dafter, NULL, dx, by, first, last, channels, slope);
        else if (passed)
            write_gradients(x, dy, NULL, passed, dx, by, first, last, channels, slope);
        else
            write_gradients(x, dy, NULL, NULL, dx, by, first, last, channels, slope);
    }
}
