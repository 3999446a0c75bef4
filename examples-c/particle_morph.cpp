// A cloud of particles in the shape of a heart turns into one in the shape of a star.
//
// The two shapes are sampled uniformly and the balanced map between them is learnt. A particle then travels along the
// Brownian bridge between its place and the one the generator gave it: sfeuot_session_trajectory draws all of its
// places at once, at any times asked for. Colours follow a particle's direction from the centre at the start, so the
// pictures show who goes where.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "apng.h"
#include "meter.h"
#include "options.h"
#include "picture.h"
#include "sfeuot.h"

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double extent = 1.35; // half the side of the square that the pictures show, in the shapes' units

// The library's sentence names the call.
void check(int32_t status)
{
    if (status != SFEUOT_OK) {
        throw std::runtime_error(sfeuot_last_error());
    }
}

// A handle released on leaving its scope.
template <class T, int32_t (*release)(T *)> struct Releaser {
    void operator()(T *handle) const { release(handle); }
};
using Context = std::unique_ptr<SfeuotContext, Releaser<SfeuotContext, sfeuot_context_release>>;
using Trainer = std::unique_ptr<SfeuotTrainer, Releaser<SfeuotTrainer, sfeuot_trainer_release>>;
using Model = std::unique_ptr<SfeuotModel, Releaser<SfeuotModel, sfeuot_model_release>>;
using Session = std::unique_ptr<SfeuotSession, Releaser<SfeuotSession, sfeuot_session_release>>;

// splitmix64: the standard library's distributions may differ between implementations, and the pictures should not.
class Random {
public:
    explicit Random(uint64_t seed) : state(seed) {}

    double uniform(double low, double high)
    {
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return low + (high - low) * static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
    }

private:
    uint64_t state;
};

bool in_heart(double x, double y)
{
    double u = 1.15 * x, v = 1.15 * y + 0.1;
    double f = u * u + v * v - 1;
    return f * f * f < u * u * v * v * v;
}

// Five points: a regular pentagram's outline in polar coordinates.
bool in_star(double x, double y)
{
    double sector = 2 * pi / 5;
    double angle = std::remainder(std::atan2(x, y), sector); // from the nearest tip
    double inner = 0.42, outer = 1.15;
    // The edge runs from the tip, at angle 0, to the notch, at half a sector.
    double notch_x = inner * std::cos(sector / 2), notch_y = inner * std::sin(sector / 2);
    double radius = std::hypot(x, y);
    double px = radius * std::cos(angle), py = radius * std::abs(std::sin(angle));
    return (outer - px) * notch_y > (outer - notch_x) * py;
}

// rows x 2 points, uniform inside the shape.
template <class Inside> std::vector<float> sample_shape(Inside inside, size_t rows, Random &random)
{
    std::vector<float> points;
    points.reserve(2 * rows);
    while (points.size() < 2 * rows) {
        double x = random.uniform(-extent, extent), y = random.uniform(-extent, extent);
        if (inside(x, y)) {
            points.push_back(static_cast<float>(x));
            points.push_back(static_cast<float>(y));
        }
    }
    return points;
}

Session learn(const std::vector<float> &source, const std::vector<float> &target, uint64_t steps, double sigma,
              uint64_t seed)
{
    std::array<const std::vector<float> *, 2> points{&source, &target};
    std::array<SfeuotData, 2> data;
    for (size_t side = 0; side < 2; side++) {
        check(sfeuot_data_init(&data[side]));
        check(sfeuot_data_set_rows(&data[side], points[side]->data(), points[side]->size() / 2, 2));
    }

    SfeuotTrainerConfig config;
    check(sfeuot_trainer_config_init(&config));
    config.divergence = SFEUOT_DIVERGENCE_BALANCED;
    config.sigma_units = SFEUOT_SIGMA_DATA_UNITS;
    config.sigma = sigma;
    // Sharp edges want a value function that turns quickly: faster rates than the defaults, brought down to a crawl at
    // the end, and half the usual batch, so that a step takes half the time.
    config.generator_learning_rate = 4e-3;
    config.value_learning_rate = 3e-3;
    config.batch_sources = 64;
    config.decay_steps = steps;
    config.seed = seed;

    SfeuotContext *context = nullptr;
    check(sfeuot_context_create(nullptr, &context));
    Context own_context(context);
    SfeuotTrainer *trainer = nullptr;
    check(sfeuot_trainer_create(context, &config, &data[0], &data[1], &trainer));
    Trainer own_trainer(trainer);
    check(train_with_meter(trainer, steps, "Learning the morph"));
    SfeuotModel *model = nullptr;
    check(sfeuot_trainer_model(trainer, &model));
    Model own_model(model);
    SfeuotSession *session = nullptr;
    check(sfeuot_session_create(model, &session));
    return Session(session);
}

// Light adds up: every particle spreads a soft dot of its colour, and a smooth curve brings the sum into 0..255.
class Canvas {
public:
    explicit Canvas(uint32_t size) : size(size), light(size_t{3} * size * size) {}

    void splat(double x, double y, const std::array<float, 3> &colour)
    {
        double radius = 2.0 * size / 400;
        double centre_u = (x / extent + 1) / 2 * size, centre_v = (1 - y / extent) / 2 * size;
        int reach = static_cast<int>(std::ceil(3 * radius));
        int left = static_cast<int>(std::floor(centre_u)), top = static_cast<int>(std::floor(centre_v));
        for (int v = top - reach; v <= top + reach; v++) {
            for (int u = left - reach; u <= left + reach; u++) {
                if (u < 0 || v < 0 || u >= static_cast<int>(size) || v >= static_cast<int>(size)) {
                    continue;
                }
                double du = (u + 0.5 - centre_u) / radius, dv = (v + 0.5 - centre_v) / radius;
                float weight = static_cast<float>(std::exp(-0.5 * (du * du + dv * dv)));
                for (size_t c = 0; c < 3; c++) {
                    light[3 * (size_t{size} * v + u) + c] += weight * colour[c];
                }
            }
        }
    }

    void develop(float exposure, uint8_t *rgb) const
    {
        constexpr std::array<float, 3> night{10, 12, 22};
        for (size_t i = 0; i < light.size(); i++) {
            float base = night[i % 3];
            rgb[i] = static_cast<uint8_t>(base + (255 - base) * (1 - std::exp(-exposure * light[i])) + 0.5f);
        }
    }

private:
    uint32_t size;
    std::vector<float> light;
};

std::array<float, 3> colour_of(double x, double y)
{
    double angle = std::atan2(y, x);
    std::array<float, 3> colour;
    for (size_t c = 0; c < 3; c++) {
        colour[c] = static_cast<float>(0.55 + 0.45 * std::cos(angle - 2 * pi * static_cast<double>(c) / 3));
    }
    return colour;
}

// Owns a picture of the C helpers.
struct Frame {
    Picture picture{0, 0, nullptr};
    Frame(uint32_t width, uint32_t height)
    {
        if (!picture_create(width, height, &picture)) {
            throw std::runtime_error("No frame could be made.");
        }
    }
    ~Frame() { picture_free(&picture); }
    Frame(Frame &&other) noexcept : picture(std::exchange(other.picture, Picture{0, 0, nullptr})) {}
    Frame &operator=(Frame &&) = delete;
};

// One picture per time from rows x times x 2 places.
std::vector<Frame> draw(const std::vector<float> &path, size_t times, uint32_t size)
{
    std::vector<Frame> frames;
    size_t particles = path.size() / times / 2;
    // The same brightness for any number of particles and any size of picture.
    float exposure = 60.0f / static_cast<float>(particles) * static_cast<float>(extent * extent) * 25;
    for (size_t time = 0; time < times; time++) {
        Canvas canvas(size);
        for (size_t i = 0; i < particles; i++) {
            const float *start = &path[i * times * 2];
            const float *place = start + 2 * time;
            canvas.splat(place[0], place[1], colour_of(start[0], start[1]));
        }
        canvas.develop(exposure, frames.emplace_back(size, size).picture.rgb);
    }
    return frames;
}

void write_strip(const std::vector<Frame> &frames, size_t panels, const std::string &path)
{
    uint32_t size = frames.front().picture.height;
    Frame strip(size * static_cast<uint32_t>(panels), size);
    for (size_t i = 0; i < panels; i++) {
        const Frame &frame = frames[i * (frames.size() - 1) / (panels - 1)];
        picture_place(&frame.picture, &strip.picture, size * static_cast<uint32_t>(i), 0, size, size);
    }
    if (!picture_write_png(path.c_str(), &strip.picture)) {
        throw std::runtime_error("The strip was not written.");
    }
}

void write_animation(const std::vector<Frame> &frames, const std::string &path)
{
    // There and back, resting at both ends.
    std::vector<Picture> shown;
    for (const Frame &frame : frames) {
        shown.push_back(frame.picture);
    }
    for (size_t i = frames.size() - 1; i-- > 1;) {
        shown.push_back(frames[i].picture);
    }
    std::vector<uint16_t> milliseconds(shown.size(), 60);
    milliseconds[0] = milliseconds[frames.size() - 1] = 700;
    if (!apng_write(path.c_str(), shown.data(), milliseconds.data(), static_cast<uint32_t>(shown.size()))) {
        throw std::runtime_error("The animation was not written.");
    }
}

} // namespace

int main(int argc, char **argv)
try {
    const char *out = "out";
    uint64_t steps = 6000, seed = 0, particles = 12000, size = 300;
    double sigma = 0.06;
    const Option options[] = {
        {"--out", OPTION_TEXT, &out, "folder to write into", 0, 0},
        {"--steps", OPTION_COUNT, &steps, "training steps", 1, 1e9},
        {"--sigma", OPTION_REAL, &sigma, "noise; the shapes are about 2 wide", 0, 0},
        {"--particles", OPTION_COUNT, &particles, "particles to move", 1, 1e6},
        {"--size", OPTION_COUNT, &size, "side of a frame in pixels", 16, 2000},
        {"--seed", OPTION_COUNT, &seed, "seed of all randomness", 0, 0},
    };
    OptionsResult result = options_read(argc, argv, "Morphs one cloud of particles into another.", options,
                                        sizeof options / sizeof *options);
    if (result != OPTIONS_READ) {
        return result == OPTIONS_HELP_SHOWN ? EXIT_SUCCESS : EXIT_FAILURE;
    }

    std::filesystem::create_directories(out);
    Random random(seed);
    std::vector<float> heart = sample_shape(in_heart, 50000, random);
    std::vector<float> star = sample_shape(in_star, 50000, random);
    Session session = learn(heart, star, steps, sigma, seed);

    std::vector<double> times;
    for (int i = 0; i <= 28; i++) {
        times.push_back(i / 28.0);
    }
    std::vector<float> start = sample_shape(in_heart, particles, random);
    std::vector<float> path(particles * times.size() * 2);
    check(sfeuot_session_trajectory(session.get(), start.data(), particles, times.data(),
                                    static_cast<uint32_t>(times.size()), seed, 0, path.data()));

    std::vector<Frame> frames = draw(path, times.size(), static_cast<uint32_t>(size));
    std::string strip = std::string(out) + "/morph_strip.png", animation = std::string(out) + "/morph.png";
    write_strip(frames, 8, strip);
    write_animation(frames, animation);
    std::cout << strip << "  the morph at 8 times\n" << animation << "  the same as an animation\n";
    return EXIT_SUCCESS;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
}
