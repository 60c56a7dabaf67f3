/* One random view of each image of a batch: crop, flip, colours, blur, solarisation, normalisation.
 *
 * An image stays in the processor's cache from the first operation to the last, where operations on
 * a whole batch wait for memory at each. What sslbench/augment/ops.py does to all images and
 * undoes by neutral parameters is left out here image by image. Formulas are those of ops.py.
 */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SIDE = 96, PIXELS = SIDE * SIDE, MAX_RADIUS = SIDE - 1 };
/* A Gaussian that has no weight beside the pixel itself. */
static const float LEAST_SIGMA = 0.05f;

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, NUM_FACTORS };

static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }
static inline float unit(float value) { return most(0, least(1, value)); }

static inline float luma(float red, float green, float blue)
{
    return red * 0.2989f + green * 0.587f + blue * 0.114f;
}

/* Which two pixels each of the result lies between, and how near it is to the second. */
static void place(int64_t start, int64_t length, int *before, int *after, float *share)
{
    for (int i = 0; i < SIDE; i++) {
        float offset = (float)length / SIDE * (i + 0.5f);
        offset = most(0.5f, least(length - 0.5f, offset)) - 0.5f;
        int whole = (int)offset;
        share[i] = offset - whole;
        before[i] = (int)start + whole;
        after[i] = before[i] + (before[i] < SIDE - 1);
    }
}

/* `box` is top, left, height, width. */
static void crop_and_flip(const uint8_t *restrict image, float *restrict out, const int64_t *box,
                          bool flipped)
{
    int above[SIDE], below[SIDE], left[SIDE], right[SIDE];
    float down[SIDE], across[SIDE], row[SIDE];
    place(box[0], box[2], above, below, down);
    place(box[1], box[3], left, right, across);
    for (int channel = 0; channel < 3; channel++)
        for (int y = 0; y < SIDE; y++) {
            const uint8_t *restrict first = image + channel * PIXELS + above[y] * SIDE;
            const uint8_t *restrict second = image + channel * PIXELS + below[y] * SIDE;
            float *restrict to = out + channel * PIXELS + y * SIDE;
            for (int x = 0; x < SIDE; x++)
                row[x] = (first[x] + (second[x] - first[x]) * down[y]) / 255;
            for (int x = 0; x < SIDE; x++)
                to[x] = row[left[x]] + (row[right[x]] - row[left[x]]) * across[x];
            if (flipped)
                for (int x = 0; x < SIDE / 2; x++) {
                    float kept = to[x];
                    to[x] = to[SIDE - 1 - x];
                    to[SIDE - 1 - x] = kept;
                }
        }
}

static void brightness(float *restrict image, float factor)
{
    for (int i = 0; i < 3 * PIXELS; i++)
        image[i] = unit(image[i] * factor);
}

static void contrast(float *restrict image, float factor)
{
    double total = 0;
    for (int y = 0; y < SIDE; y++) {
        const float *restrict row = image + y * SIDE;
        float sum = 0;
        for (int x = 0; x < SIDE; x++)
            sum += luma(row[x], row[x + PIXELS], row[x + 2 * PIXELS]);
        total += sum;
    }
    float other = (1 - factor) * (float)(total / PIXELS);
    for (int i = 0; i < 3 * PIXELS; i++)
        image[i] = unit(image[i] * factor + other);
}

static void saturation(float *restrict image, float factor)
{
    for (int i = 0; i < PIXELS; i++) {
        float red = image[i], green = image[i + PIXELS], blue = image[i + 2 * PIXELS];
        float other = (1 - factor) * luma(red, green, blue);
        image[i] = unit(red * factor + other);
        image[i + PIXELS] = unit(green * factor + other);
        image[i + 2 * PIXELS] = unit(blue * factor + other);
    }
}

static void hue(float *restrict image, float shift)
{
    float turns[3];
    for (int channel = 0; channel < 3; channel++) {
        float turn = 6 * shift - 2 * channel + 3;
        turns[channel] = turn - 6 * floorf(turn / 6) - 3;
    }
    for (int i = 0; i < PIXELS; i++) {
        float red = image[i], green = image[i + PIXELS], blue = image[i + 2 * PIXELS];
        float highest = most(most(red, green), blue), lowest = least(least(red, green), blue);
        float chroma = highest - lowest;
        float position = copysignf(chroma - lowest - red + green + blue, green - blue);
        for (int channel = 0; channel < 3; channel++) {
            float distance = fabsf(position + chroma * turns[channel]);
            float height = most(0, fabsf(distance - 3 * chroma) - chroma);
            image[i + channel * PIXELS] = least(height, chroma) + lowest;
        }
    }
}

/* `ranks` say when each operation's turn is; factors that change nothing are passed over. */
static void jitter(float *image, const float *factors, const int64_t *ranks)
{
    for (int turn = 0; turn < NUM_FACTORS; turn++) {
        if (ranks[BRIGHTNESS] == turn && factors[BRIGHTNESS] != 1)
            brightness(image, factors[BRIGHTNESS]);
        else if (ranks[CONTRAST] == turn && factors[CONTRAST] != 1)
            contrast(image, factors[CONTRAST]);
        else if (ranks[SATURATION] == turn && factors[SATURATION] != 1)
            saturation(image, factors[SATURATION]);
        else if (ranks[HUE] == turn && factors[HUE] != 0)
            hue(image, factors[HUE]);
    }
}

static void grayscale(float *restrict image)
{
    for (int i = 0; i < PIXELS; i++) {
        float gray = luma(image[i], image[i + PIXELS], image[i + 2 * PIXELS]);
        image[i] = image[i + PIXELS] = image[i + 2 * PIXELS] = gray;
    }
}

static inline int reflected(int position)
{
    position = position < 0 ? -position : position;
    return position < SIDE ? position : 2 * (SIDE - 1) - position;
}

/* By a Gaussian of `sigma` pixels, cut off at `radius`; edges are reflected. */
static void blur(float *restrict image, float sigma, int radius)
{
    float weights[2 * MAX_RADIUS + 1], plane[PIXELS], row[SIDE + 2 * MAX_RADIUS];
    float total = 0;
    for (int i = -radius; i <= radius; i++)
        total += weights[i + radius] = expf(-0.5f * (i / sigma) * (i / sigma));
    for (int i = 0; i <= 2 * radius; i++)
        weights[i] /= total;
    for (int channel = 0; channel < 3; channel++) {
        float *restrict in = image + channel * PIXELS;
        for (int y = 0; y < SIDE; y++) {
            float *restrict out = plane + y * SIDE;
            memset(out, 0, SIDE * sizeof *out);
            for (int i = 0; i <= 2 * radius; i++) {
                const float *restrict from = in + reflected(y + i - radius) * SIDE;
                for (int x = 0; x < SIDE; x++)
                    out[x] += weights[i] * from[x];
            }
        }
        for (int y = 0; y < SIDE; y++) {
            float *restrict out = in + y * SIDE;
            for (int x = -radius; x < SIDE + radius; x++)
                row[x + radius] = plane[y * SIDE + reflected(x)];
            memset(out, 0, SIDE * sizeof *out);
            for (int i = 0; i <= 2 * radius; i++)
                for (int x = 0; x < SIDE; x++)
                    out[x] += weights[i] * row[x + i];
        }
    }
}

/* `threshold` is on the scale 0 to 255; from planes to channels_last. */
static void solarize_and_normalize(const float *restrict image, float *restrict out,
                                   float threshold, const float *mean, const float *std)
{
    float from = threshold / 255;
    for (int i = 0; i < PIXELS; i++)
        for (int channel = 0; channel < 3; channel++) {
            float value = image[i + channel * PIXELS];
            value = value >= from ? 1 - value : value;
            out[3 * i + channel] = (value - mean[channel]) / std[channel];
        }
}

/* `images` are (n, 3, SIDE, SIDE), `out` is (n, SIDE, SIDE, 3); all others have a row per image. */
void view(const uint8_t *restrict images, float *restrict out, const int64_t *boxes,
          const bool *flips, const float *factors, const int64_t *ranks, const bool *grays,
          const float *sigmas, const float *thresholds, const float *mean, const float *std,
          int64_t n, int radius, int max_threads)
{
#pragma omp parallel for num_threads(max_threads) schedule(dynamic)
    for (int64_t i = 0; i < n; i++) {
        float image[3 * PIXELS];
        crop_and_flip(images + i * 3 * PIXELS, image, boxes + 4 * i, flips[i]);
        jitter(image, factors + NUM_FACTORS * i, ranks + NUM_FACTORS * i);
        if (grays[i])
            grayscale(image);
        if (sigmas[i] >= LEAST_SIGMA)
            blur(image, sigmas[i], radius);
        solarize_and_normalize(image, out + i * 3 * PIXELS, thresholds[i], mean, std);
    }
}
