/* 3x3 convolutions of stride 1 and padding 1 by Winograd's minimal filtering, and their gradients.
 *
 * F(2x2, 3x3) of Lavin and Gray (2016): a tile of 2x2 results needs 4x4 pixels; transformed, tile
 * and filter are multiplied at 16 points, which takes 16 products per pair of channels in place of
 * 36. With the sign of the last row so that no result is negated, in one dimension:
 *
 *     pixels d       d0 - d2, d1 + d2, d2 - d1, d3 - d1
 *     filter g       g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2
 *     results of m   m0 + m1 + m2, m1 - m2 + m3
 *
 * The gradient by the pixels is the same convolution with the filters turned and their channels
 * exchanged; that by the filters is a product of transformed pixels and transformed gradients,
 * summed over tiles, and transformed back. A block of tiles stays in the processor's cache from its
 * pixels to its results.
 *
 * Images are in channels_last order; numbers of channels are multiples of 16. Compiled with -DBF16
 * elements are bfloat16, and so are transformed tiles and filters; all sums are in float.
 */

#include <immintrin.h>
#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A vector of elements as they are multiplied has PAIR of them in each lane, neighbours in the sum.
 * TILES x 2 sums of a product, or ROWS x 2, fit the processor's registers. */
#ifdef BF16
#if !defined(__AVX512BF16__) || defined(__AMX_BF16__)
#error "products of bfloat16 are emulated here, or torch's by matrix units are faster"
#endif
typedef uint16_t element;
enum { LANES = 16, PAIR = 2, TILES = 12, ROWS = 8 };
typedef __m512 vector;

static inline vector load(const element *from)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline void store(element *to, vector values)
{
    _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh(values));
}

static inline vector load_lanes(const element *from) { return _mm512_loadu_ps(from); }

static const uint16_t WEAVE[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

/* Stores `*first` and the vector `next` after it, a pair in each lane. */
static inline void store_lanes(element *to, const vector *first, int next)
{
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(first[next], first[0]);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(_mm512_loadu_si512(WEAVE), both));
}

/* Adds the products of one lane with many. */
static inline vector add_products(vector sum, const element *one, vector many)
{
    int32_t pair;
    memcpy(&pair, one, sizeof pair);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)many);
}
#else
#ifndef __AVX2__
#error "measured with AVX2 and AVX-512 only"
#endif
typedef float element;
#ifdef __AVX512F__
enum { LANES = 16, PAIR = 1, TILES = 12, ROWS = 8 };
#else
enum { LANES = 8, PAIR = 1, TILES = 6, ROWS = 4 };
#endif
typedef float vector __attribute__((vector_size(4 * LANES)));

static inline vector load(const element *from)
{
    vector values;
    memcpy(&values, from, sizeof values);
    return values;
}

static inline void store(element *to, vector values) { memcpy(to, &values, sizeof values); }
static inline vector load_lanes(const element *from) { return load(from); }
static inline void store_lanes(element *to, const vector *first, int next)
{
    (void)next;
    store(to, *first);
}

static inline vector add_products(vector sum, const element *one, vector many)
{
    return sum + *one * many;
}
#endif

enum {
    POINTS = 16,
    WIDE = 2 * LANES,  /* Channels that are multiplied at a time. */
    SUMMED_TILES = 64, /* A block's, in the gradient by the filters; even. */
    PADDING = 64       /* Bytes after a power of two, lest all fall on the same lines of the cache. */
};

typedef struct {
    int64_t images, height, width, in, out; /* of the forward convolution or its turned one */
    int64_t down, across, tiles;            /* tiles of an image, and of all */
} Shape;

typedef struct {
    int64_t image, row, column;
} Place;

static inline vector load_floats(const float *from)
{
    vector values;
    memcpy(&values, from, sizeof values);
    return values;
}

static inline void store_floats(float *to, vector values) { memcpy(to, &values, sizeof values); }

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static Shape shape_of(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out)
{
    int64_t down = (height + 1) / 2, across = (width + 1) / 2;
    return (Shape){images, height, width, in, out, down, across, images * down * across};
}

static inline Place place_of(Shape s, int64_t tile)
{
    return (Place){tile / (s.down * s.across), tile / s.across % s.down, tile % s.across};
}

static inline void advance(Place *place, Shape s)
{
    if (++place->column < s.across)
        return;
    place->column = 0;
    if (++place->row < s.down)
        return;
    place->row = 0;
    place->image++;
}

/* Pixels of a tile's surroundings: where the first is, and elements from one row to the next. */
typedef struct {
    const element *first;
    int64_t row;
} Patch;

/* `size` x `size` pixels from `border` above and left of the tile on: in the image, or where some
 * are padding, in a copy. */
static inline Patch patch_of(const element *x, Shape s, int64_t channels, Place place, int border,
                             int size, element *copy)
{
    int64_t top = 2 * place.row - border, left = 2 * place.column - border;
    const element *corner = x + ((place.image * s.height + top) * s.width + left) * channels;
    if (top >= 0 && left >= 0 && top + size <= s.height && left + size <= s.width)
        return (Patch){corner, s.width * channels};
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            int64_t row = top + i, column = left + j;
            int inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
            const element *from = inside ? corner + (i * s.width + j) * channels : NULL;
            element *to = copy + (i * size + j) * channels;
            for (int64_t c = 0; c < channels; c += LANES)
                store(to + c, inside ? load(from + c) : (vector){0});
        }
    return (Patch){copy, size * channels};
}

static inline void transform_four(const vector *d, int step, vector *v)
{
    v[0] = d[0] - d[2 * step];
    v[step] = d[step] + d[2 * step];
    v[2 * step] = d[2 * step] - d[step];
    v[3 * step] = d[3 * step] - d[step];
}

/* LANES channels of 4x4 pixels at the 16 points. */
static inline void transform_pixels(const element *first, int64_t row, int64_t channels,
                                    vector v[POINTS])
{
    vector d[POINTS], half[POINTS];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            d[4 * i + j] = load(first + i * row + j * channels);
    for (int column = 0; column < 4; column++)
        transform_four(d + column, 4, half + column);
    for (int i = 0; i < 4; i++)
        transform_four(half + 4 * i, 1, v + 4 * i);
}

/* LANES channels of the gradients of 2x2 results at the 16 points: `write_results` transposed. */
static inline void transform_gradients(const element *first, int64_t row, int64_t channels,
                                       vector m[POINTS])
{
    vector a = load(first), b = load(first + channels);
    vector c = load(first + row), d = load(first + row + channels);
    vector left[4] = {a, a + c, a - c, c}, right[4] = {b, b + d, b - d, d};
    for (int i = 0; i < 4; i++) {
        m[4 * i] = left[i];
        m[4 * i + 1] = left[i] + right[i];
        m[4 * i + 2] = left[i] - right[i];
        m[4 * i + 3] = right[i];
    }
}

static inline void transform_three(const vector *g, vector *u)
{
    u[0] = g[0];
    u[1] = 0.5f * (g[0] + g[1] + g[2]);
    u[2] = 0.5f * (g[0] - g[1] + g[2]);
    u[3] = g[2];
}

/* Strides in a filter bank, in elements: results', pixels' channels; rows, columns of a filter. */
typedef struct {
    int64_t out, in, row, column;
} Strides;

/* The filters from a pixels' channel to LANES results', at the 16 points. */
static inline void transform_filters(const float *w, Strides by, vector u[POINTS])
{
    vector half[3][4];
    for (int column = 0; column < 3; column++) {
        vector g[3];
        for (int row = 0; row < 3; row++)
            for (int lane = 0; lane < LANES; lane++)
                g[row][lane] = w[lane * by.out + row * by.row + column * by.column];
        transform_three(g, half[column]);
    }
    for (int row = 0; row < 4; row++) {
        vector g[3] = {half[0][row], half[1][row], half[2][row]};
        transform_three(g, u + 4 * row);
    }
}

/* Elements of a tile's transformed pixels, and of LANES channels of its products, and padding. */
static inline int64_t tile_size(int64_t channels)
{
    return POINTS * channels + PADDING / sizeof(element);
}
enum { PRODUCTS_SIZE = POINTS * LANES + PADDING / sizeof(float) };

/* Takes `vectors` vectors of results' channels at a time, one or two, where it is constant. */
#define FOR_ONE_OR_TWO static inline __attribute__((always_inline)) void

/* The products at a point of `in` channels of tiles and of filters, (in / PAIR, LANES, PAIR);
 * `second` are those of the next LANES channels. */
FOR_ONE_OR_TWO multiply(int vectors, const element *v, const element *u, const element *second,
                        int64_t in, float *m)
{
    vector sum[TILES][2];
#pragma GCC unroll 12
    for (int t = 0; t < TILES; t++)
        sum[t][0] = sum[t][1] = (vector){0};
    for (int64_t c = 0; c < in; c += PAIR) {
        vector filters = load_lanes(u + c * LANES), more = {0};
        if (vectors == 2)
            more = load_lanes(second + c * LANES);
#pragma GCC unroll 12
        for (int t = 0; t < TILES; t++) {
            sum[t][0] = add_products(sum[t][0], v + t * tile_size(in) + c, filters);
            if (vectors == 2)
                sum[t][1] = add_products(sum[t][1], v + t * tile_size(in) + c, more);
        }
    }
#pragma GCC unroll 12
    for (int t = 0; t < TILES; t++) {
        store_floats(m + t * PRODUCTS_SIZE, sum[t][0]);
        if (vectors == 2)
            store_floats(m + (TILES + t) * PRODUCTS_SIZE, sum[t][1]);
    }
}

/* Writes LANES channels of a tile's results, `m` being at its first point. */
static inline void write_results(const float *m, Shape s, Place place, element *y)
{
    vector top[4], bottom[4];
    for (int column = 0; column < 4; column++) {
        const float *from = m + column * LANES;
        vector a = load_floats(from), b = load_floats(from + 4 * LANES);
        vector c = load_floats(from + 8 * LANES), d = load_floats(from + 12 * LANES);
        top[column] = a + b + c;
        bottom[column] = b - c + d;
    }
    int64_t row = 2 * place.row, column = 2 * place.column;
    element *to = y + ((place.image * s.height + row) * s.width + column) * s.out;
    element *below = to + s.width * s.out;
    int has_right = column + 1 < s.width, has_below = row + 1 < s.height;
    store(to, top[0] + top[1] + top[2]);
    if (has_right)
        store(to + s.out, top[1] - top[2] + top[3]);
    if (has_below)
        store(below, bottom[0] + bottom[1] + bottom[2]);
    if (has_right && has_below)
        store(below + s.out, bottom[1] - bottom[2] + bottom[3]);
}

/* Elements of one point of a block whose products are summed, and padding. */
static inline int64_t summed_size(int64_t channels)
{
    return SUMMED_TILES * channels + PADDING / sizeof(element);
}

/* A thread's room: transformed tiles, their products, and a tile's copied pixels. */
static int64_t forward_bytes(int64_t in)
{
    int64_t pixels = TILES * tile_size(in) + POINTS * in;
    return pixels * sizeof(element) + 2 * TILES * PRODUCTS_SIZE * sizeof(float);
}

/* A thread's room: sums, a block's pixels and gradients, and their copies of a pair of tiles. */
static int64_t gradient_bytes(int64_t in, int64_t out)
{
    int64_t blocks = POINTS * (summed_size(in) + summed_size(out));
    int64_t copies = PAIR * (POINTS * in + 4 * out);
    return POINTS * in * out * sizeof(float) + (blocks + copies) * sizeof(element);
}

static int64_t count_blocks(Shape s, int64_t tiles) { return (s.tiles + tiles - 1) / tiles; }

/* No more than have a block to work on: each has room of its own. */
static int forward_threads(Shape s, int max_threads)
{
    return (int)smaller(max_threads, count_blocks(s, TILES));
}
static int gradient_threads(Shape s, int max_threads)
{
    return (int)smaller(max_threads, count_blocks(s, SUMMED_TILES));
}

/* Bytes of room that `convolve` needs, and `filter_gradient`. */
int64_t convolve_room(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out,
                      int max_threads)
{
    int num_threads = forward_threads(shape_of(images, height, width, in, out), max_threads);
    return POINTS * in * out * sizeof(element) + num_threads * forward_bytes(in);
}

int64_t filter_gradient_room(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out,
                             int max_threads)
{
    int num_threads = gradient_threads(shape_of(images, height, width, in, out), max_threads);
    return num_threads * gradient_bytes(in, out);
}

/* `y` is the result, (images, height, width, out); `w` any strided (out, in, 3, 3). */
void convolve(const element *x, const float *w, element *y, char *room, int64_t images,
              int64_t height, int64_t width, int64_t in, int64_t out, int64_t w_out, int64_t w_in,
              int64_t w_row, int64_t w_column, int max_threads)
{
    Shape s = shape_of(images, height, width, in, out);
    Strides by = {w_out, w_in, w_row, w_column};
    element *u = (element *)room; /* (out / LANES, POINTS, in / PAIR, LANES, PAIR) */
    room += POINTS * in * out * sizeof(element);
#pragma omp parallel num_threads(forward_threads(s, max_threads))
    {
        element *v = (element *)(room + omp_get_thread_num() * forward_bytes(in));
        float *m = (float *)(v + TILES * tile_size(in));
        element *copy = (element *)(m + 2 * TILES * PRODUCTS_SIZE);
        memset(v, 0, TILES * tile_size(in) * sizeof(element)); /* The last block may be short. */
#pragma omp for collapse(2)
        for (int64_t c = 0; c < in; c += PAIR)
            for (int64_t k = 0; k < out; k += LANES) {
                vector filters[PAIR * POINTS];
                for (int i = 0; i < PAIR; i++)
                    transform_filters(w + k * w_out + (c + i) * w_in, by, filters + i * POINTS);
                for (int q = 0; q < POINTS; q++)
                    store_lanes(u + (k * POINTS + q * LANES) * in + c * LANES, filters + q, POINTS);
            }
#pragma omp for schedule(static)
        for (int64_t first = 0; first < s.tiles; first += TILES) {
            int64_t count = smaller(TILES, s.tiles - first);
            Place place = place_of(s, first);
            for (int64_t t = 0; t < count; t++, advance(&place, s)) {
                Patch patch = patch_of(x, s, in, place, 1, 4, copy);
                for (int64_t c = 0; c < in; c += LANES) {
                    vector points[POINTS];
                    transform_pixels(patch.first + c, patch.row, in, points);
                    for (int q = 0; q < POINTS; q++)
                        store(v + t * tile_size(in) + q * in + c, points[q]);
                }
            }
            for (int64_t k = 0; k < out; k += WIDE) {
                int64_t wide = smaller(WIDE, out - k);
                for (int q = 0; q < POINTS; q++) {
                    const element *tiles = v + q * in;
                    const element *filters = u + (k * POINTS + q * LANES) * in;
                    if (wide == WIDE)
                        multiply(2, tiles, filters, filters + POINTS * LANES * in, in,
                                 m + q * LANES);
                    else
                        multiply(1, tiles, filters, NULL, in, m + q * LANES);
                }
                place = place_of(s, first);
                for (int64_t t = 0; t < count; t++, advance(&place, s))
                    for (int64_t i = 0; i < wide / LANES; i++)
                        write_results(m + (i * TILES + t) * PRODUCTS_SIZE, s, place,
                                      y + k + i * LANES);
            }
        }
    }
}

/* Transforms a block's pixels and gradients: each (POINTS, tiles / PAIR, channels, PAIR). */
static void transform_block(const element *x, const element *dy, Shape s, int64_t first,
                            int64_t count, element *v, element *m, element *copies)
{
    element *gradient_copies = copies + PAIR * POINTS * s.in;
    Place place = place_of(s, first);
    for (int64_t t = 0; t < count; t += PAIR) {
        Patch pixels[PAIR], gradients[PAIR];
        for (int i = 0; i < PAIR; i++, advance(&place, s)) {
            if (t + i == count) /* What a pair lacks is far below an image: padding. */
                place = (Place){0, s.down + 1, 0};
            pixels[i] = patch_of(x, s, s.in, place, 1, 4, copies + i * POINTS * s.in);
            gradients[i] = patch_of(dy, s, s.out, place, 0, 2, gradient_copies + i * 4 * s.out);
        }
        vector points[PAIR * POINTS];
        for (int64_t c = 0; c < s.in; c += LANES) {
            for (int i = 0; i < PAIR; i++)
                transform_pixels(pixels[i].first + c, pixels[i].row, s.in, points + i * POINTS);
            for (int q = 0; q < POINTS; q++)
                store_lanes(v + q * summed_size(s.in) + t * s.in + c * PAIR, points + q, POINTS);
        }
        for (int64_t k = 0; k < s.out; k += LANES) {
            for (int i = 0; i < PAIR; i++)
                transform_gradients(gradients[i].first + k, gradients[i].row, s.out,
                                    points + i * POINTS);
            for (int q = 0; q < POINTS; q++)
                store_lanes(m + q * summed_size(s.out) + t * s.out + k * PAIR, points + q, POINTS);
        }
    }
}

/* Adds to `u`, (ROWS of `in`, out), the products of `count` tiles. */
FOR_ONE_OR_TWO accumulate(int vectors, const element *v, const element *m, int64_t in, int64_t out,
                          int64_t count, float *u)
{
    vector sum[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        sum[r][0] = load_floats(u + r * out);
        if (vectors == 2)
            sum[r][1] = load_floats(u + r * out + LANES);
    }
    for (int64_t t = 0; t < count; t += PAIR) {
        vector gradients = load_lanes(m + t * out), more = {0};
        if (vectors == 2)
            more = load_lanes(m + t * out + LANES * PAIR);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            sum[r][0] = add_products(sum[r][0], v + t * in + r * PAIR, gradients);
            if (vectors == 2)
                sum[r][1] = add_products(sum[r][1], v + t * in + r * PAIR, more);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        store_floats(u + r * out, sum[r][0]);
        if (vectors == 2)
            store_floats(u + r * out + LANES, sum[r][1]);
    }
}

/* What `transform_three` does, transposed: the gradient of three from that of four. */
static inline void three_of_four(const vector *u, int step, vector *g)
{
    g[0] = u[0] + 0.5f * (u[step] + u[2 * step]);
    g[1] = 0.5f * (u[step] - u[2 * step]);
    g[2] = 0.5f * (u[step] + u[2 * step]) + u[3 * step];
}

/* Writes the gradient of the filters from a pixels' channel to LANES results'. */
static inline void write_filters(const vector u[POINTS], Strides by, float *dw)
{
    vector half[4][3];
    for (int column = 0; column < 4; column++)
        three_of_four(u + column, 4, half[column]);
    for (int row = 0; row < 3; row++) {
        vector four[4] = {half[0][row], half[1][row], half[2][row], half[3][row]}, g[3];
        three_of_four(four, 1, g);
        for (int column = 0; column < 3; column++)
            for (int lane = 0; lane < LANES; lane++)
                dw[lane * by.out + row * by.row + column * by.column] = g[column][lane];
    }
}

/* `dw` is the result, as strided as `w` of `convolve`. Threads sum tiles apart, in a fixed order. */
void filter_gradient(const element *x, const element *dy, float *dw, char *room, int64_t images,
                     int64_t height, int64_t width, int64_t in, int64_t out, int64_t w_out,
                     int64_t w_in, int64_t w_row, int64_t w_column, int max_threads)
{
    Shape s = shape_of(images, height, width, in, out);
    Strides by = {w_out, w_in, w_row, w_column};
#pragma omp parallel num_threads(gradient_threads(s, max_threads))
    {
        float *u = (float *)(room + omp_get_thread_num() * gradient_bytes(in, out));
        element *v = (element *)(u + POINTS * in * out), *m = v + POINTS * summed_size(in);
        element *copies = m + POINTS * summed_size(out);
        memset(u, 0, POINTS * in * out * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t first = 0; first < s.tiles; first += SUMMED_TILES) {
            int64_t count = smaller(SUMMED_TILES, s.tiles - first);
            transform_block(x, dy, s, first, count, v, m, copies);
            for (int q = 0; q < POINTS; q++)
                for (int64_t k = 0; k < out; k += WIDE)
                    for (int64_t c = 0; c < in; c += ROWS) {
                        const element *tiles = v + q * summed_size(in) + c * PAIR;
                        const element *gradients = m + q * summed_size(out) + k * PAIR;
                        float *sums = u + (q * in + c) * out + k;
                        if (out - k >= WIDE)
                            accumulate(2, tiles, gradients, in, out, count, sums);
                        else
                            accumulate(1, tiles, gradients, in, out, count, sums);
                    }
        }
        int num_threads = omp_get_num_threads();
#pragma omp for collapse(2)
        for (int64_t c = 0; c < in; c++)
            for (int64_t k = 0; k < out; k += LANES) {
                vector points[POINTS];
                for (int q = 0; q < POINTS; q++) {
                    points[q] = (vector){0};
                    for (int thread = 0; thread < num_threads; thread++) {
                        const float *part = (float *)(room + thread * gradient_bytes(in, out));
                        points[q] += load_floats(part + (q * in + c) * out + k);
                    }
                }
                write_filters(points, by, dw + k * w_out + c * w_in);
            }
    }
}
