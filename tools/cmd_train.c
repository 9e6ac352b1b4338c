#include "cli.h"
#include "evaluate.h"
#include "picture.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct train_options {
    cli_compute compute;
    const char *data, *model, *out, *optimizer, *schedule, *loss, *augment, *checkpoint, *resume, *log, *plot, *size;
    const char *freeze;
    int64_t epochs, steps, batch, checkpoint_every, warmup, schedule_step, early_stop, new_head, detect;
    double lr, momentum, weight_decay, clip, smoothing, factor, validation, noise;
    uint64_t seed;
    bool no_shuffle, drop_last, quiet, normalize;
} train_options;

typedef struct training {
    const train_options *o;
    fv_context *context;
    fv_model *model;                       /* what training starts from */
    fv_dataset *train, *validation, *test; /* validation: NULL without --validation */
    fv_trainer *trainer;
    fv_loader *loader;
    FILE *log;
    loss_curve curve;
    int64_t per_epoch, total;
    model_kind kind;
    fv_loss loss;
    float *wanted;  /* GIVES_VALUE: [batch], 1 for images of the class, 0 for others */
    fv_model *best; /* --early-stop: of the smallest validation loss so far */
    double best_loss;
    int64_t best_epoch, epochs_since;
    const char *why; /* a sentence that is not the library's */
} training;

/* Index of `text` in names, -1 with a message. */
static int choice(const char *option, const char *text, const char *const *names, int count, int *out) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return -1;
        }
    char list[256] = "";
    for (int i = 0; i < count; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    return cli_usage(&cmd_train, "--%s takes one of %s, not \"%s\"", option, list, text);
}

static int parse_augment(const char *text, unsigned *bits) {
    static const char *const names[] = {"shift", "flip", "crop"};
    static const unsigned values[] = {FV_AUGMENT_SHIFT, FV_AUGMENT_FLIP, FV_AUGMENT_CROP};
    char copy[128];
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    for (char *save = NULL, *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        int i = 0;
        const int status = choice("augment", word, names, 3, &i);
        if (status >= 0) return status;
        *bits |= values[i];
    }
    return -1;
}

static int trainer_settings(const train_options *o, model_kind kind, fv_trainer_settings *s) {
    static const char *const optimizers[] = {"sgd", "momentum", "nesterov", "adam", "adamw"};
    static const char *const schedules[] = {"constant", "step", "cosine"};
    static const char *const losses[] = {"cross-entropy", "squared-error", "squared"};
    fv_trainer_settings_default(s);
    int optimizer = kind == GIVES_IMAGES ? FV_ADAM : FV_MOMENTUM, schedule = FV_SCHEDULE_COSINE, status = -1;
    int loss = kind == GIVES_CLASSES ? FV_LOSS_CROSS_ENTROPY : FV_LOSS_SQUARED_ERROR;
    if (o->optimizer) status = choice("optimizer", o->optimizer, optimizers, 5, &optimizer);
    if (status < 0 && o->schedule) status = choice("schedule", o->schedule, schedules, 3, &schedule);
    if (status < 0 && o->loss) status = choice("loss", o->loss, losses, 3, &loss);
    if (status >= 0) return status;
    if (loss > FV_LOSS_SQUARED_ERROR) loss = FV_LOSS_SQUARED_ERROR; /* its short name */
    if (kind != GIVES_CLASSES && (loss == FV_LOSS_CROSS_ENTROPY || o->smoothing > 0))
        return cli_fail(
            &cmd_train,
            "cross-entropy and label smoothing need a network that gives a number a class; this one gives %s, "
            "which train by squared error",
            kind == GIVES_IMAGES ? "images" : "single values");
    s->batch = o->batch;
    s->input_layout = FV_NHWC;
    s->optimizer = (fv_optimizer)optimizer;
    s->schedule = (fv_schedule)schedule;
    s->loss = (fv_loss)loss;
    if (optimizer == FV_ADAM || optimizer == FV_ADAMW) s->lr = 0.001f;
    if (o->lr > 0) s->lr = (float)o->lr;
    if (o->momentum >= 0) s->momentum = (float)o->momentum;
    s->weight_decay = (float)o->weight_decay;
    s->clip = (float)o->clip;
    s->label_smoothing = (float)o->smoothing;
    s->warmup_steps = o->warmup;
    s->schedule_factor = (float)o->factor;
    s->seed = o->seed;
    return -1;
}

static int open_data(training *t) {
    fv_dataset_settings s;
    fv_dataset_settings_default(&s);
    int status = cli_size(&cmd_train, t->o->size, &s.height, &s.width);
    if (status >= 0) return status;
    if (fv_dataset_open(t->context, t->o->data, &s, &t->train) != FV_OK) return cli_library(&cmd_train);
    s.test = true;
    if (fv_dataset_open(t->context, t->o->data, &s, &t->test) != FV_OK) return cli_library(&cmd_train);
    if (t->o->validation <= 0) return -1;
    fv_dataset *rest = NULL;
    if (fv_dataset_split(t->train, t->o->validation, t->o->seed, &rest, &t->validation) != FV_OK)
        return cli_library(&cmd_train);
    fv_dataset_free(t->train);
    t->train = rest;
    return -1;
}

/* The edited model takes the place of the one it was made from. */
static int take(training *t, fv_status made, fv_model *const *edited) {
    if (made != FV_OK) return cli_library(&cmd_train);
    fv_model_free(t->model);
    t->model = *edited;
    return -1;
}

static int normalize(training *t, int32_t channels) {
    float *moments = malloc(2 * (size_t)channels * sizeof *moments);
    if (!moments) return cli_fail(&cmd_train, "out of memory");
    fv_model *edited = NULL;
    fv_status status = fv_dataset_moments(t->train, moments, moments + channels);
    if (status == FV_OK) status = fv_model_normalize(t->model, moments, moments + channels, channels, &edited);
    free(moments);
    return take(t, status, &edited);
}

/* --new-head, --normalize, --freeze. */
static int edit_model(training *t, int32_t channels) {
    const train_options *o = t->o;
    fv_model *edited = NULL;
    int status = -1;
    if (o->new_head) status = take(t, fv_model_new_head(t->model, (int32_t)o->new_head, o->seed, &edited), &edited);
    if (status < 0 && o->normalize) status = normalize(t, channels);
    if (status < 0 && o->freeze) status = take(t, fv_model_freeze(t->model, o->freeze, NULL, &edited), &edited);
    return status;
}

/* What the model gives can be held against what the data has. */
static int check_target(training *t, int32_t outputs, int32_t classes) {
    const int64_t detect = t->o->detect;
    if (t->kind == GIVES_VALUE && detect < 0)
        return cli_fail(
            &cmd_train,
            "the model is one unit, whose value no label is: give --detect CLASS, and it learns 1 for images of that "
            "class and 0 for others; or a model of %d outputs, one a class",
            classes);
    if (t->kind != GIVES_VALUE && detect >= 0)
        return cli_fail(&cmd_train, "--detect is for networks of one unit; this one gives %s",
                        t->kind == GIVES_IMAGES ? "images" : "classes");
    if (detect >= classes)
        return cli_fail(&cmd_train, "--detect %lld: the classes of the data are 0 to %d", (long long)detect,
                        classes - 1);
    if (t->kind == GIVES_CLASSES && outputs < classes)
        return cli_fail(&cmd_train, "the data has %d classes, but the model gives %d outputs", classes, outputs);
    if (t->kind != GIVES_VALUE) return -1;
    t->wanted = calloc((size_t)t->o->batch, sizeof *t->wanted);
    return t->wanted ? -1 : cli_fail(&cmd_train, "out of memory");
}

static int open_model(training *t) {
    fv_dataset_info info;
    if (fv_dataset_get_info(t->train, &info) != FV_OK) return cli_library(&cmd_train);
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    zoo.channels = info.channels;
    zoo.height = info.height;
    zoo.width = info.width;
    zoo.classes = t->o->detect >= 0 ? 1 : info.classes;
    zoo.seed = t->o->seed;
    int status = cli_model(&cmd_train, t->context, t->o->model, &zoo, &t->model);
    if (status >= 0) return status;
    int32_t classes;
    const char *why;
    if (fits(t->model, info.channels, info.height, info.width, &t->kind, &classes, &why) != FV_OK)
        return cli_fail(&cmd_train, "%s", why);
    if ((status = edit_model(t, info.channels)) >= 0) return status;
    if (t->o->new_head && fits(t->model, info.channels, info.height, info.width, &t->kind, &classes, &why) != FV_OK)
        return cli_fail(&cmd_train, "%s", why);
    return check_target(t, classes, info.classes);
}

static int open_loader(training *t, unsigned augment, int64_t start) {
    fv_loader_settings s;
    fv_loader_settings_default(&s);
    s.batch = t->o->batch;
    s.shuffle = !t->o->no_shuffle;
    s.drop_last = t->o->drop_last;
    s.augment = augment;
    s.noise = (float)t->o->noise;
    s.seed = t->o->seed;
    s.start_step = start;
    s.prefetch = 4;
    return fv_loader_create(t->train, &s, &t->loader) == FV_OK ? -1 : cli_library(&cmd_train);
}

/* Loader and trainer: the loader first, as the schedule needs the steps of an epoch. */
static int open_training(training *t) {
    fv_trainer_settings s;
    unsigned augment = 0;
    int status = trainer_settings(t->o, t->kind, &s);
    if (status < 0) status = parse_augment(t->o->augment, &augment);
    if (status < 0) status = open_loader(t, augment, 0);
    if (status >= 0) return status;
    t->per_epoch = fv_loader_steps_per_epoch(t->loader);
    if (t->per_epoch < 1)
        return cli_fail(&cmd_train, "--drop-last leaves nothing: the data set is smaller than one batch of %lld",
                        (long long)t->o->batch);
    t->total = t->o->steps ? t->o->steps : t->o->epochs * t->per_epoch;
    t->loss = s.loss;
    s.total_steps = t->total;
    s.schedule_step = t->o->schedule_step * t->per_epoch;
    if (fv_trainer_create(t->model, &s, &t->trainer) != FV_OK) return cli_library(&cmd_train);
    if (!t->o->resume) return -1;
    if (fv_trainer_load(t->trainer, t->o->resume) != FV_OK) return cli_library(&cmd_train);
    fv_loader_free(t->loader);
    t->loader = NULL;
    return open_loader(t, augment, fv_trainer_steps(t->trainer));
}

static bool log_step(training *t, int64_t step, const fv_step *r) {
    if (!t->log) return true;
    json_t *line = json_pack("{s:I, s:f, s:f}", "step", (json_int_t)step, "loss", r->loss, "lr", r->lr);
    const bool ok =
        line && json_dumpf(line, t->log, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 && fputc('\n', t->log) != EOF;
    json_decref(line);
    return ok;
}

/* The loss that training makes smaller, without label smoothing; of images a value's squared error, whatever their
 * size. */
static double loss_of(const training *t, const evaluation *e) {
    if (t->kind == GIVES_IMAGES) return e->output_error;
    return t->loss == FV_LOSS_SQUARED_ERROR ? e->squared : e->loss;
}

/* Keeps the model of the smallest validation loss. */
static void keep_best(training *t, const evaluation *validation, int64_t epoch, fv_model **model) {
    const double loss = loss_of(t, validation);
    t->epochs_since++;
    if (t->best && !(loss < t->best_loss)) return;
    fv_model_free(t->best);
    t->best = *model;
    *model = NULL;
    t->best_loss = loss;
    t->best_epoch = epoch;
    t->epochs_since = 0;
}

/* Validation images (where there are) and test images, with the parameters as they are now. */
static fv_status test_now(training *t, int64_t epoch, evaluation *validation, evaluation *test) {
    fv_model *model;
    fv_status status = fv_trainer_model(t->trainer, &model);
    if (status != FV_OK) return status;
    const evaluate_settings s = {.batch = 100,
                                 .seed = t->o->seed,
                                 .detect = (int32_t)t->o->detect,
                                 .noise = t->kind == GIVES_IMAGES ? (float)t->o->noise : 0};
    status = evaluate(model, t->test, &s, NULL, test);
    if (status == FV_OK && t->validation) status = evaluate(model, t->validation, &s, NULL, validation);
    if (status == FV_OK && t->o->early_stop) keep_best(t, validation, epoch, &model);
    fv_model_free(model);
    return status;
}

static double accuracy(const evaluation *e) { return (double)e->correct / (double)(e->count ? e->count : 1); }

static void print_measured(const training *t, const char *set, const evaluation *e) {
    if (t->kind == GIVES_IMAGES)
        printf("%s squared error %.5f, of the noisy images %.5f  ", set, e->output_error, e->input_error);
    else
        printf("%s loss %.4f  %s accuracy %.4f  ", set, loss_of(t, e), set, accuracy(e));
}

typedef struct epoch_sum {
    double loss, began;
    int64_t steps, images, correct;
} epoch_sum;

static fv_status report_epoch(training *t, int64_t step, epoch_sum *sum, progress *bar) {
    const double seconds = cli_seconds() - sum->began;
    const int64_t epoch = (step + t->per_epoch - 1) / t->per_epoch;
    evaluation test = {0}, validation = {0};
    const fv_status status = test_now(t, epoch, &validation, &test);
    progress_clear(bar);
    if (status == FV_OK && sum->steps && !t->o->quiet) {
        printf("epoch %3lld  loss %.4f  ", (long long)epoch, sum->loss / (double)sum->steps);
        if (t->kind == GIVES_CLASSES) printf("training accuracy %.4f  ", (double)sum->correct / (double)sum->images);
        if (t->validation) print_measured(t, "validation", &validation);
        print_measured(t, "test", &test);
        printf("%.1f s  %.0f images/s\n", seconds, (double)sum->images / seconds);
        fflush(stdout);
    }
    evaluation_free(&test);
    evaluation_free(&validation);
    *sum = (epoch_sum){.began = cli_seconds()};
    return status;
}

/* No better validation loss for --early-stop epochs. */
static bool stop_early(const training *t) {
    if (!t->o->early_stop || t->epochs_since < t->o->early_stop) return false;
    if (!t->o->quiet) printf("stopped: no smaller validation loss in %lld epochs\n", (long long)t->epochs_since);
    return true;
}

/* Labels, images without noise, or 1 and 0. */
static fv_status target_of(training *t, const fv_tensor *labels, fv_tensor *target) {
    *target = *labels;
    if (t->kind == GIVES_IMAGES) return fv_loader_clean(t->loader, target);
    if (t->kind == GIVES_CLASSES) return FV_OK;
    const int32_t *label = labels->data;
    for (int64_t i = 0; i < labels->shape[0]; i++) t->wanted[i] = label[i] == t->o->detect;
    *target = (fv_tensor){FV_F32, FV_PLAIN, 2, {labels->shape[0], 1}, t->wanted};
    return FV_OK;
}

static fv_status one_step(training *t, epoch_sum *sum, fv_step *result) {
    fv_tensor x, labels, target;
    fv_status status = fv_loader_next(t->loader, &x, &labels);
    if (status == FV_OK) status = target_of(t, &labels, &target);
    if (status == FV_OK) status = fv_trainer_step(t->trainer, &x, &target, result);
    if (status != FV_OK) return status;
    sum->loss += result->loss;
    sum->steps++;
    sum->images += x.shape[0];
    sum->correct += result->correct > 0 ? result->correct : 0;
    return FV_OK;
}

static fv_status train_steps(training *t) {
    progress bar;
    progress_start(&bar, "train", t->total);
    epoch_sum sum = {.began = cli_seconds()};
    fv_status status = FV_OK;
    for (int64_t step = fv_trainer_steps(t->trainer); step < t->total && status == FV_OK;) {
        fv_step result;
        if ((status = one_step(t, &sum, &result)) != FV_OK) break;
        step++;
        if (!log_step(t, step, &result) || !loss_curve_add(&t->curve, step, result.loss)) {
            t->why = "cannot write the log";
            return FV_ERR_IO;
        }
        char note[64];
        snprintf(note, sizeof note, "epoch %lld loss %.4f", (long long)((step - 1) / t->per_epoch + 1), result.loss);
        progress_update(&bar, step, note);
        if (t->o->checkpoint && step % t->o->checkpoint_every == 0)
            status = fv_trainer_save(t->trainer, t->o->checkpoint);
        if (status != FV_OK || (step % t->per_epoch != 0 && step != t->total)) continue;
        status = report_epoch(t, step, &sum, &bar);
        if (status == FV_OK && stop_early(t)) break;
    }
    progress_clear(&bar);
    return status;
}

static fv_status write_results(training *t) {
    fv_status status = FV_OK;
    if (t->o->checkpoint) status = fv_trainer_save(t->trainer, t->o->checkpoint);
    if (t->best && !t->o->quiet)
        printf("the weights are those of epoch %lld, validation loss %.4f\n", (long long)t->best_epoch, t->best_loss);
    if (status == FV_OK && t->o->out) {
        fv_model *model = NULL;
        if (!t->best) status = fv_trainer_model(t->trainer, &model);
        if (status == FV_OK) status = fv_model_save(t->best ? t->best : model, t->o->out);
        fv_model_free(model);
    }
    if (status == FV_OK && t->o->plot && !loss_curve_plot(&t->curve, t->o->plot, &t->why)) status = FV_ERR_IO;
    return status;
}

static int train(training *t) {
    int status = cli_context(&cmd_train, &t->o->compute, &t->context);
    if (status < 0) status = open_data(t);
    if (status < 0) status = open_model(t);
    if (status < 0) status = open_training(t);
    if (status >= 0) return status;
    if (t->o->log && !(t->log = fopen(t->o->log, t->o->resume ? "a" : "w")))
        return cli_fail(&cmd_train, "cannot write %s: %s", t->o->log, strerror(errno));
    if (train_steps(t) != FV_OK || write_results(t) != FV_OK)
        return cli_fail(&cmd_train, "%s", t->why ? t->why : fv_last_error());
    if (t->log && fclose(t->log) != 0) {
        t->log = NULL;
        return cli_fail(&cmd_train, "cannot write %s: %s", t->o->log, strerror(errno));
    }
    t->log = NULL;
    return CLI_DONE;
}

static int check_options(const train_options *o) {
    if (!o->data) return cli_usage(&cmd_train, "needs --data; see fovea train --help");
    if (!o->model) return cli_usage(&cmd_train, "needs --model: a built-in network or an ONNX file");
    if (o->early_stop && o->validation <= 0)
        return cli_usage(&cmd_train, "--early-stop needs --validation SHARE: the test images are not for choosing");
    if (o->early_stop && o->resume)
        return cli_usage(&cmd_train,
                         "--early-stop does not go with --resume: a checkpoint does not hold the best weights");
    if (o->plot && !picture_available())
        return cli_fail(&cmd_train,
                        "--plot needs a build with cairo (apt-get install libcairo2-dev, then build again)");
    return -1;
}

static int run(int argc, char **argv) {
    train_options o = {.epochs = 1,
                       .batch = 64,
                       .momentum = -1,
                       .detect = -1,
                       .seed = 1,
                       .checkpoint_every = 500,
                       .schedule_step = 1,
                       .factor = 0.5};
    const cli_option options[] = {
        {"data", "D", CLI_TEXT, &o.data, 0, 0, "fashion-mnist, idx:DIR, cifar10:DIR or folder:DIR (needed)"},
        {"size", "H,W", CLI_TEXT, &o.size, 0, 0, "folder: scale the images to this"},
        {"model", "M", CLI_TEXT, &o.model, 0, 0, "a built-in network (fovea info lists them) or an ONNX file (needed)"},
        {"out", "F.onnx", CLI_TEXT, &o.out, 0, 0, "write the trained model here"},
        {"epochs", "N", CLI_INT, &o.epochs, 1, 1e6, "passes over the training images (default 1)"},
        {"steps", "N", CLI_INT, &o.steps, 1, 1e12, "batches instead of epochs"},
        {"batch", "N", CLI_INT, &o.batch, 1, 1 << 16, "images a step (default 64)"},
        {"drop-last", NULL, CLI_FLAG, &o.drop_last, 0, 0, "leave out an epoch's last partial batch"},
        {"no-shuffle", NULL, CLI_FLAG, &o.no_shuffle, 0, 0, "keep the images in the data set's order"},
        {"validation", "SHARE", CLI_REAL, &o.validation, 1e-6, 0.999999,
         "set this share of the training images aside, by seed, and measure it after each epoch"},
        {"early-stop", "N", CLI_INT, &o.early_stop, 1, 1e6,
         "stop after N epochs without a smaller validation loss, and write the weights of the best"},
        {"augment", "LIST", CLI_TEXT, &o.augment, 0, 0,
         "shift (by up to 2 pixels), flip (left-right), crop (pad by 4, cut at random), separated by commas"},
        {"noise", "SIGMA", CLI_REAL, &o.noise, 0, 1e6,
         "normal noise of this deviation on the input, whose numbers go from 0 to 1; an autoencoder learns the image "
         "without it"},
        {"normalize", NULL, CLI_FLAG, &o.normalize, 0, 0,
         "subtract the training images' mean and divide by their deviation, a channel at a time, in a first layer"},
        {"new-head", "N", CLI_INT, &o.new_head, 1, 1 << 20,
         "replace the last fully connected layer by a fresh one of N outputs"},
        {"freeze", "PATTERN", CLI_TEXT, &o.freeze, 0, 0,
         "leave the parameters with matching names as they are, such as \"conv*\" (wildcards * ? [...])"},
        {"optimizer", "NAME", CLI_TEXT, &o.optimizer, 0, 0,
         "sgd, momentum (default), nesterov, adam (default for images), adamw"},
        {"lr", "X", CLI_REAL, &o.lr, 1e-12, 1e6, "learning rate (default 0.05; adam and adamw 0.001)"},
        {"momentum", "X", CLI_REAL, &o.momentum, 0, 0.99999, "momentum (default 0.9)"},
        {"weight-decay", "X", CLI_REAL, &o.weight_decay, 0, 1e3, "decay of weights, not of biases (default 0)"},
        {"clip", "X", CLI_REAL, &o.clip, 0, 1e9, "largest norm of the whole gradient; 0: none (default)"},
        {"schedule", "NAME", CLI_TEXT, &o.schedule, 0, 0, "cosine (to 0 at the end, default), constant, step"},
        {"schedule-step", "N", CLI_INT, &o.schedule_step, 1, 1e6, "step: epochs between reductions (default 1)"},
        {"schedule-factor", "X", CLI_REAL, &o.factor, 1e-6, 1, "step: factor of a reduction (default 0.5)"},
        {"warmup", "N", CLI_INT, &o.warmup, 0, 1e9, "steps over which the learning rate rises from 0"},
        {"loss", "NAME", CLI_TEXT, &o.loss, 0, 0,
         "cross-entropy or squared-error; chosen by what the network gives: classes, else images or one value"},
        {"detect", "CLASS", CLI_INT, &o.detect, 0, 1e6,
         "one unit, trained by value: 1 for images of this class, 0 for others (a unit that ends in ReLU can die; then "
         "another --seed)"},
        {"label-smoothing", "X", CLI_REAL, &o.smoothing, 0, 0.999, "share of the target spread over all classes"},
        {"seed", "N", CLI_SEED, &o.seed, 0, 0, "seed of weights, order, augmentation, noise and dropout (default 1)"},
        {"checkpoint", "F", CLI_TEXT, &o.checkpoint, 0, 0, "keep the whole state here"},
        {"checkpoint-every", "N", CLI_INT, &o.checkpoint_every, 1, 1e12, "steps between checkpoints (default 500)"},
        {"resume", "F", CLI_TEXT, &o.resume, 0, 0, "go on from a checkpoint, bit for bit"},
        {"log", "F.jsonl", CLI_TEXT, &o.log, 0, 0, "a line a step: step, loss, lr"},
        {"plot", "F.png", CLI_TEXT, &o.plot, 0, 0, "a picture of the loss"},
        {"quiet", NULL, CLI_FLAG, &o.quiet, 0, 0, "no line an epoch"},
        CLI_COMPUTE_OPTIONS(&o.compute),
        CLI_END,
    };
    int positional;
    int status = cli_parse(&cmd_train, options, argc, argv, &positional);
    if (status >= 0) return status;
    if (positional) return cli_usage(&cmd_train, "takes no argument, got \"%s\"", argv[1]);
    if ((status = check_options(&o)) >= 0) return status;
    training t = {.o = &o};
    status = train(&t);
    if (t.log) fclose(t.log);
    free(t.wanted);
    loss_curve_free(&t.curve);
    fv_loader_free(t.loader);
    fv_trainer_free(t.trainer);
    fv_model_free(t.best);
    fv_model_free(t.model);
    fv_dataset_free(t.train);
    fv_dataset_free(t.validation);
    fv_dataset_free(t.test);
    fv_context_free(t.context);
    return status;
}

const cli_command cmd_train = {
    "train", "--data D --model M [OPTIONS]",
    "Trains a network on images and writes it as ONNX.\n"
    "The same seed, data and instruction set give the same file, byte for byte, with any number of threads.",
    "  fovea train --data fashion-mnist --model lenet5 --epochs 10 --out m.onnx\n"
    "  fovea train --data fashion-mnist --model cnn --optimizer adam --epochs 6 --out cnn.onnx\n"
    "  fovea train --data folder:photos --size 32,32 --model cnn --optimizer adam --epochs 20 --out photos.onnx\n"
    "  fovea train --data fashion-mnist --model cnn --epochs 40 --normalize --augment shift,flip --validation 0.1 "
    "--early-stop 3 --out cnn.onnx\n"
    "  fovea train --data folder:photos --model cnn.onnx --size 28,28 --new-head 3 --freeze \"conv*\" --out "
    "photos.onnx\n"
    "  fovea train --data fashion-mnist --model autoencoder --noise 0.3 --epochs 5 --out ae.onnx   # images to images\n"
    "  fovea train --data fashion-mnist --model lecture --detect 8 --optimizer adam --seed 4 --out bag.onnx\n"
    "  fovea train --data fashion-mnist --model cnn --epochs 6 --checkpoint c.ckpt --out cnn.onnx   # interrupted?\n"
    "  fovea train --data fashion-mnist --model cnn --epochs 6 --checkpoint c.ckpt --resume c.ckpt --out cnn.onnx\n",
    run};
