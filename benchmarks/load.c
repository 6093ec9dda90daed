/* A load generator whose cost is small: pre-encoded DICOM requests over raw sockets, one epoll loop.
 *
 * load HOST PORT ASSOCIATIONS SECONDS WARMUP ASSOCIATE_FILE REQUESTS_FILE MODE
 *
 * REQUESTS_FILE holds complete requests as they go over the wire; they are sent in turn, by whichever association is free.
 * All numbers in it are of four bytes, big endian: how many requests; then for each its length, the length of its first
 * P-DATA-TF (the command), how many numbers and how many times it holds; the offset of each number; offset and age in
 * milliseconds of each time; its bytes. At a number's offset ten ASCII digits of a running number are written, at a time's
 * offset YYYYMMDDHHMMSS.FFFFFF, the time of sending in UTC less its age: so no two requests are equal, and their entries
 * happened just now. The Message ID needs no change: each request is answered before the next one leaves. MODE: "once"
 * writes a request in one piece with TCP_NODELAY; "twice" writes command and data set one after the other with Nagle's
 * algorithm on, as stock SCUs do. Prints one JSON object: "requests" counts what was answered within SECONDS, "answered"
 * also what was in WARMUP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct conn {
    int fd, established, command_done, has_data;
    unsigned status;
    uint64_t sent_at;
    size_t have;
    unsigned char buf[65536];
    unsigned char *request;
};

struct request {
    const unsigned char *bytes, *numbers, *times;
    uint32_t length, first_part, n_numbers, n_times;
};

static size_t associate_len, longest;
static unsigned char *associate_bytes;
static struct request *requests;
static uint32_t n_requests;
static int twice;
static int64_t last_stamp;
static uint64_t counter, answered, failures, measured, begin_at, end_at;
static float *latencies;
static size_t latencies_cap;
static unsigned last_bad;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static unsigned char *slurp(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    unsigned char *p = malloc(*len + 1);
    if (!p || fread(p, 1, *len, f) != *len) die(path);
    fclose(f);
    return p;
}

static void write_all(int fd, const unsigned char *p, size_t n) {
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0) {
            if (errno == EAGAIN || errno == EINTR) continue;
            die("write");
        }
        p += w;
        n -= (size_t)w;
    }
}

static uint32_t be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void read_requests(const char *path) {
    size_t length;
    const unsigned char *p = slurp(path, &length), *end = p + length;
    n_requests = be32(p);
    p += 4;
    requests = calloc(n_requests, sizeof *requests);
    if (!requests) die("calloc");
    for (uint32_t i = 0; i < n_requests; i++) {
        struct request *r = requests + i;
        r->length = be32(p), r->first_part = be32(p + 4), r->n_numbers = be32(p + 8), r->n_times = be32(p + 12);
        r->numbers = p + 16;
        r->times = r->numbers + 4 * (size_t)r->n_numbers;
        r->bytes = r->times + 8 * (size_t)r->n_times;
        p = r->bytes + r->length;
        if (r->length > longest) longest = r->length;
    }
    if (!n_requests || p != end) {
        fprintf(stderr, "%s is no file of requests\n", path);
        exit(2);
    }
}

/* Microseconds since the epoch, each time later than before. */
static int64_t stamp(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t now = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    return last_stamp = now > last_stamp ? now : last_stamp + 1;
}

static void write_time(unsigned char *to, int64_t us) {
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(us / 1000000);
    gmtime_r(&seconds, &parts);
    size_t n = strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts);
    snprintf(text + n, sizeof text - n, ".%06d", (int)(us % 1000000));
    memcpy(to, text, 21);
}

static void send_request(struct conn *c) {
    const struct request *r = requests + counter % n_requests;
    char digits[16];
    memcpy(c->request, r->bytes, r->length);
    snprintf(digits, sizeof digits, "%010llu", (unsigned long long)(counter++ % 10000000000ull));
    for (uint32_t i = 0; i < r->n_numbers; i++) memcpy(c->request + be32(r->numbers + 4 * i), digits, 10);
    int64_t now = stamp();
    for (uint32_t i = 0; i < r->n_times; i++)
        write_time(c->request + be32(r->times + 8 * i), now - 1000 * (int64_t)be32(r->times + 8 * i + 4));
    c->command_done = c->has_data = 0;
    c->sent_at = now_ns();
    size_t first_part = twice ? r->first_part : r->length;
    write_all(c->fd, c->request, first_part);
    write_all(c->fd, c->request + first_part, r->length - first_part);
}

static uint32_t le32(const unsigned char *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* One presentation data value; returns 1 when the response is complete. */
static int on_pdv(struct conn *c, unsigned control, const unsigned char *p, size_t n) {
    if (control & 1) {
        for (size_t i = 0; i + 8 <= n;) {
            uint32_t tag = (uint32_t)(p[i] | p[i + 1] << 8) << 16 | (uint32_t)(p[i + 2] | p[i + 3] << 8);
            uint32_t len = le32(p + i + 4);
            if (tag == 0x00000800) c->has_data = (p[i + 8] | p[i + 9] << 8) != 0x0101;
            if (tag == 0x00000900) c->status = (unsigned)(p[i + 8] | p[i + 9] << 8);
            i += 8 + len;
        }
        return control & 2 ? !c->has_data : 0;
    }
    return (control & 2) != 0;
}

static void on_readable(struct conn *c) {
    ssize_t r = read(c->fd, c->buf + c->have, sizeof c->buf - c->have);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (r <= 0) {
        fprintf(stderr, "the peer closed an association\n");
        exit(1);
    }
    c->have += (size_t)r;
    size_t used = 0;
    while (c->have - used >= 6) {
        unsigned char *pdu = c->buf + used;
        uint32_t len = be32(pdu + 2);
        if (c->have - used < 6 + (size_t)len) break;
        if (pdu[0] == 2) {
            c->established = 1;
            send_request(c);
        } else if (pdu[0] == 4) {
            int complete = 0;
            for (uint32_t i = 0; i + 6 <= len;) {
                uint32_t n = be32(pdu + 6 + i);
                complete |= on_pdv(c, pdu[6 + i + 5], pdu + 6 + i + 6, n - 2);
                i += 4 + n;
            }
            if (complete) {
                uint64_t t = now_ns();
                answered++;
                if (c->status != 0) {
                    failures++;
                    last_bad = c->status;
                }
                if (t >= begin_at && t < end_at) {
                    if (measured == latencies_cap) {
                        latencies_cap = latencies_cap ? latencies_cap * 2 : 1 << 16;
                        latencies = realloc(latencies, latencies_cap * sizeof *latencies);
                        if (!latencies) die("realloc");
                    }
                    latencies[measured++] = (float)((double)(t - c->sent_at) / 1e6);
                }
                send_request(c);
            }
        } else {
            fprintf(stderr, "the peer sent PDU type %d\n", pdu[0]);
            exit(1);
        }
        used += 6 + len;
    }
    memmove(c->buf, c->buf + used, c->have - used);
    c->have -= used;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: load HOST PORT ASSOCIATIONS SECONDS WARMUP ASSOCIATE_FILE REQUESTS_FILE MODE\n");
        return 2;
    }
    int n = atoi(argv[3]);
    double seconds = atof(argv[4]), warmup = atof(argv[5]);
    associate_bytes = slurp(argv[6], &associate_len);
    read_requests(argv[7]);
    twice = !strcmp(argv[8], "twice");
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    counter = ((uint64_t)wall.tv_sec % 1000) * 10000000ull; /* runs against one store do not repeat each other */
    int ep = epoll_create1(0);
    struct conn *conns = calloc((size_t)n, sizeof *conns);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    for (int i = 0; i < n; i++) {
        struct conn *c = conns + i;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        int one = 1;
        if (!twice) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->request = malloc(longest);
        if (!c->request) die("malloc");
        write_all(c->fd, associate_bytes, associate_len);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
    }
    begin_at = now_ns() + (uint64_t)(warmup * 1e9);
    end_at = begin_at + (uint64_t)(seconds * 1e9);
    struct epoll_event events[256];
    while (now_ns() < end_at) {
        int got = epoll_wait(ep, events, 256, 50);
        for (int i = 0; i < got; i++) on_readable(events[i].data.ptr);
    }
    qsort(latencies, measured, sizeof *latencies, by_value);
    double p50 = measured ? latencies[measured / 2] : 0, p99 = measured ? latencies[measured * 99 / 100] : 0;
    printf("{\"associations\": %d, \"requests\": %llu, \"answered\": %llu, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"failures\": %llu, \"last_failure\": \"%04X\"}\n",
           n, (unsigned long long)measured, (unsigned long long)answered, (double)measured / seconds, p50, p99, (unsigned long long)failures, last_bad);
    return 0;
}
