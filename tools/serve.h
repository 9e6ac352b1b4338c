/* `fovea serve` inside: cmd_serve.c starts and stops, serve_http.c speaks HTTP, serve_infer.c reads and writes the
 * bodies of inference requests, serve_text.c the other texts. */
#ifndef FOVEA_TOOLS_SERVE_H
#define FOVEA_TOOLS_SERVE_H

#include "fovea.h"

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- texts ---- */

typedef struct serve_text {
    char *data;
    size_t size, capacity;
    bool failed; /* out of memory: what is appended from then on is lost */
} serve_text;

void serve_append(serve_text *t, const void *data, size_t bytes);
void serve_print(serve_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void serve_quote(serve_text *t, const char *string); /* as a JSON string */

/* ---- the server ---- */

typedef struct serve_tensor {
    const char *name;
    fv_tensor shape;   /* shape[0] 0: the batch, of one item else */
    size_t item_count; /* numbers an item */
    size_t number_bytes;
} serve_tensor;

/* What a connection is doing, for whoever looks for slow ones and for the drain. */
typedef enum serve_phase { SERVE_IDLE, SERVE_READING, SERVE_RUNNING, SERVE_WRITING } serve_phase;

typedef struct serve_connection {
    struct serve_connection *next, *previous;
    int socket;
    serve_phase phase;
    double since;
    size_t received; /* of the body being read */
} serve_connection;

enum { serve_codes = 600 };

typedef struct server {
    fv_context *context;
    fv_model *model;
    fv_batcher *batcher;
    const char *name;
    serve_tensor *inputs, *outputs;
    size_t input_count, output_count;
    int64_t queue, max_batch, deadline_us;
    double timeout;
    size_t max_body;
    struct MHD_Daemon *daemon;
    atomic_bool draining;
    atomic_ulong answers[serve_codes]; /* by HTTP status */
    pthread_mutex_t lock;              /* of the connections */
    serve_connection *connections;
} server;

/* ---- one request ---- */

typedef struct exchange exchange;

typedef struct serve_item {
    exchange *owner;
    fv_request *request;
} serve_item;

struct exchange {
    server *server;
    struct MHD_Connection *connection;
    serve_connection *slot;
    serve_text body;
    bool infer, too_large;
    char *id; /* as the client gave it, or NULL */
    int64_t items, deadline_us;
    void **in, **out; /* [inputs], [outputs]: all items, one behind the other */
    size_t *wanted;   /* [wanted_count] of outputs, in the order of the answer */
    bool *binary;     /* [wanted_count] */
    size_t wanted_count;
    serve_item *requests; /* [items] */
    atomic_long left;     /* items not yet answered */
    _Atomic fv_status status;
    bool running;
    int code; /* of the answer; 0: not known yet */
    serve_text reply;
    size_t json_bytes; /* of a reply with binary tensors; 0: JSON alone */
};

/* Fills the exchange from its body. 0, or the HTTP status of the refusal, whose sentence is then the reply. */
int serve_read_infer(exchange *e, const char *header_length);
void serve_write_infer(exchange *e);
void serve_free_infer(exchange *e);
/* The reply becomes {"error": sentence}; returns the code. */
int serve_refuse(exchange *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

void serve_write_server(serve_text *t);
void serve_write_model(const server *s, serve_text *t);
void serve_write_metrics(server *s, serve_text *t);
const char *serve_datatype(fv_dtype type); /* as the protocol has it */

/* ---- HTTP ---- */

/* Listens; *port 0: any, and becomes the one it is. false: errno says why. */
bool serve_listen(server *s, const char *host, int64_t connections, int64_t *port);
/* Ends connections that have been slow for too long. */
void serve_end_slow(server *s);
/* Stops listening, lets every request that came in be answered, `grace` seconds at most; false: some were not. */
bool serve_drain(server *s, double grace);

#endif
