/* Batch normalisation in training mode and a leaky ReLU after it, forward and backward.
 *
 * Images are (rows, channels): all pixels of a batch in channels_last order. Memory is what these
 * operations wait for, so a pass over it does all it can: two forward (statistics; result) and two
 * backward (sums; gradient), where the operations one by one take five and seven. Everything is
 * computed in float, sums of blocks of rows in double.
 *
 * Compiled with -DBF16 elements are bfloat16, else float.
 */

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#ifdef BF16
typedef uint16_t element;

static inline float load(element bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Rounds to the nearest, ties to even; what is not a number stays so. */
static inline element store(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : (element)rounded;
}
#else
typedef float element;

static inline float load(element value) { return value; }
static inline element store(float value) { return value; }
#endif

enum { BLOCK = 128 }; /* Rows whose sums are kept in float. */

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Adds what threads left in `partial`, (threads, 2, channels), up in the first of them. */
static void add_up(double *partial, int num_threads, int64_t channels)
{
    for (int thread = 1; thread < num_threads; thread++)
        for (int64_t i = 0; i < 2 * channels; i++)
            partial[i] += partial[thread * 2 * channels + i];
}

/* `mean` and `variance` (biased) are results; `partial` is room for 2 x channels per thread. */
void forward(const element *restrict x, element *restrict y, const float *restrict weight,
             const float *restrict bias, float *restrict mean, float *restrict variance,
             double *restrict partial, int64_t rows, int64_t channels, float eps, float slope,
             int max_threads)
{
#pragma omp parallel num_threads(max_threads)
    {
        int thread = omp_get_thread_num(), num_threads = omp_get_num_threads();
        int64_t first = rows * thread / num_threads, last = rows * (thread + 1) / num_threads;
        double *total = partial + thread * 2 * channels, *total_squares = total + channels;
        float sum[channels], squares[channels], pivot[channels];

        /* Around the first row, so that squares of a large mean do not swallow the variance. */
        for (int64_t c = 0; c < channels; c++) {
            pivot[c] = load(x[c]);
            total[c] = total_squares[c] = 0;
        }
        for (int64_t start = first; start < last; start += BLOCK) {
            int64_t end = smaller(start + BLOCK, last);
            for (int64_t c = 0; c < channels; c++)
                sum[c] = squares[c] = 0;
            for (int64_t row = start; row < end; row++) {
                const element *in = x + row * channels;
                for (int64_t c = 0; c < channels; c++) {
                    float value = load(in[c]) - pivot[c];
                    sum[c] += value;
                    squares[c] += value * value;
                }
            }
            for (int64_t c = 0; c < channels; c++) {
                total[c] += sum[c];
                total_squares[c] += squares[c];
            }
        }
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
        float *scale = sum, *shift = squares;
        for (int64_t c = 0; c < channels; c++) {
            scale[c] = weight[c] / sqrtf(variance[c] + eps);
            shift[c] = bias[c] - mean[c] * scale[c];
        }
        for (int64_t row = first; row < last; row++) {
            const element *in = x + row * channels;
            element *out = y + row * channels;
            for (int64_t c = 0; c < channels; c++) {
                float z = load(in[c]) * scale[c] + shift[c];
                out[c] = store(z > 0 ? z : z * slope);
            }
        }
    }
}

/* `dx`, `dweight` and `dbias` are results: gradients, as `dy` is. */
void backward(const element *restrict x, const element *restrict dy, element *restrict dx,
              const float *restrict weight, const float *restrict bias,
              const float *restrict mean, const float *restrict variance,
              float *restrict dweight, float *restrict dbias, double *restrict partial,
              int64_t rows, int64_t channels, float eps, float slope, int max_threads)
{
#pragma omp parallel num_threads(max_threads)
    {
        int thread = omp_get_thread_num(), num_threads = omp_get_num_threads();
        int64_t first = rows * thread / num_threads, last = rows * (thread + 1) / num_threads;
        double *total = partial + thread * 2 * channels, *total_products = total + channels;
        float sum[channels], products[channels], scale[channels], shift[channels];

        for (int64_t c = 0; c < channels; c++) {
            scale[c] = weight[c] / sqrtf(variance[c] + eps);
            shift[c] = bias[c] - mean[c] * scale[c];
            total[c] = total_products[c] = 0;
        }
        for (int64_t start = first; start < last; start += BLOCK) {
            int64_t end = smaller(start + BLOCK, last);
            for (int64_t c = 0; c < channels; c++)
                sum[c] = products[c] = 0;
            for (int64_t row = start; row < end; row++) {
                const element *in = x + row * channels, *out_gradient = dy + row * channels;
                for (int64_t c = 0; c < channels; c++) {
                    float value = load(in[c]), gradient = load(out_gradient[c]);
                    gradient = value * scale[c] + shift[c] > 0 ? gradient : gradient * slope;
                    sum[c] += gradient;
                    products[c] += gradient * (value - mean[c]);
                }
            }
            for (int64_t c = 0; c < channels; c++) {
                total[c] += sum[c];
                total_products[c] += products[c];
            }
        }
#pragma omp barrier
#pragma omp single
        {
            add_up(partial, num_threads, channels);
            for (int64_t c = 0; c < channels; c++) {
                dbias[c] = (float)partial[c];
                dweight[c] = (float)(partial[channels + c] / sqrtf(variance[c] + eps));
            }
        }
        float *mean_gradient = sum, *per_deviation = products;
        for (int64_t c = 0; c < channels; c++) {
            mean_gradient[c] = (float)(partial[c] / rows);
            per_deviation[c] = (float)(partial[channels + c] / rows / (variance[c] + eps));
        }
        for (int64_t row = first; row < last; row++) {
            const element *in = x + row * channels, *out_gradient = dy + row * channels;
            element *in_gradient = dx + row * channels;
            for (int64_t c = 0; c < channels; c++) {
                float value = load(in[c]), gradient = load(out_gradient[c]);
                gradient = value * scale[c] + shift[c] > 0 ? gradient : gradient * slope;
                gradient -= mean_gradient[c] + (value - mean[c]) * per_deviation[c];
                in_gradient[c] = store(scale[c] * gradient);
            }
        }
    }
}
