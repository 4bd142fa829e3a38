/* A module for the tests: counters with a history, as no server has them of its own.
 *
 *   COUNTER.SET key n          the counter is n
 *   COUNTER.INCR key by        adds, and counts that it was done
 *   COUNTER.SUM numkeys key…   the last key becomes the sum of the others and itself; its keys stand where numkeys says
 *   COUNTER.GET key            value and number of changes
 *   COUNTER.NOTE [text]        reads or sets a note that belongs to no key (saved beside the keys)
 *
 * The few functions of the server that it needs are declared here, so that no header of a server is needed: a server
 * gives them by name, through the first pointer of the context. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Context Context;
typedef struct Key Key;
typedef struct String String;
typedef struct Io Io;
typedef struct Type Type;
typedef int (*Command)(Context *, String **, int);

/* What a type is to the server, as far as its second version goes. */
struct TypeMethods {
    uint64_t version;
    void *(*load)(Io *, int);
    void (*save)(Io *, void *);
    void (*rewrite)(Io *, String *, void *);
    size_t (*memory)(const void *);
    void (*digest)(void *, void *);
    void (*free)(void *);
    int (*load_aux)(Io *, int, int);
    void (*save_aux)(Io *, int);
    int save_aux_when;
};

#define FUNCTIONS(X) \
    X(int, SetModuleAttribs, (Context *, const char *, int, int)) \
    X(int, CreateCommand, (Context *, const char *, Command, const char *, int, int, int)) \
    X(Type *, CreateDataType, (Context *, const char *, int, struct TypeMethods *)) \
    X(Key *, OpenKey, (Context *, String *, int)) \
    X(void, CloseKey, (Key *)) \
    X(int, KeyType, (Key *)) \
    X(Type *, ModuleTypeGetType, (Key *)) \
    X(void *, ModuleTypeGetValue, (Key *)) \
    X(int, ModuleTypeSetValue, (Key *, Type *, void *)) \
    X(int, StringToLongLong, (const String *, long long *)) \
    X(const char *, StringPtrLen, (const String *, size_t *)) \
    X(int, ReplyWithLongLong, (Context *, long long)) \
    X(int, ReplyWithArray, (Context *, long)) \
    X(int, ReplyWithError, (Context *, const char *)) \
    X(int, ReplyWithStringBuffer, (Context *, const char *, size_t)) \
    X(int, ReplicateVerbatim, (Context *)) \
    X(int, WrongArity, (Context *)) \
    X(int, IsKeysPositionRequest, (Context *)) \
    X(void, KeyAtPos, (Context *, int)) \
    X(void, SaveSigned, (Io *, int64_t)) \
    X(int64_t, LoadSigned, (Io *)) \
    X(void, SaveStringBuffer, (Io *, const char *, size_t)) \
    X(char *, LoadStringBuffer, (Io *, size_t *)) \
    X(void, Free, (void *))

#define DECLARE(result, name, args) static result (*name) args;
FUNCTIONS(DECLARE)

enum { OK = 0, ERROR = 1, READ = 1, WRITE = 2, EMPTY = 0, AFTER_THE_KEYS = 2 };

struct Counter {
    int64_t value;
    int64_t changes;
};

static Type *counter_type;
static char note[64];

static void *load(Io *io, int version) {
    (void)version;
    struct Counter *counter = malloc(sizeof *counter);
    counter->value = LoadSigned(io);
    counter->changes = LoadSigned(io);
    return counter;
}

static void save(Io *io, void *value) {
    struct Counter *counter = value;
    SaveSigned(io, counter->value);
    SaveSigned(io, counter->changes);
}

static void rewrite(Io *io, String *key, void *value) {
    (void)io, (void)key, (void)value;
}

static void save_note(Io *io, int when) {
    (void)when;
    SaveStringBuffer(io, note, strlen(note));
}

static int load_note(Io *io, int version, int when) {
    (void)version, (void)when;
    size_t length = 0;
    char *text = LoadStringBuffer(io, &length);
    if (length >= sizeof note) length = sizeof note - 1;
    memcpy(note, text, length);
    note[length] = 0;
    Free(text);
    return OK;
}

/* The counter at a key, made if there is none; null if it holds something else. */
static struct Counter *counter_at(Key *key) {
    if (KeyType(key) == EMPTY) {
        struct Counter *counter = calloc(1, sizeof *counter);
        ModuleTypeSetValue(key, counter_type, counter);
        return counter;
    }
    return ModuleTypeGetType(key) == counter_type ? ModuleTypeGetValue(key) : NULL;
}

static int change(Context *ctx, String **argv, int argc, int keep) {
    long long number;
    if (argc != 3) return WrongArity(ctx);
    if (StringToLongLong(argv[2], &number) != OK) return ReplyWithError(ctx, "ERR not a number");
    Key *key = OpenKey(ctx, argv[1], READ | WRITE);
    struct Counter *counter = counter_at(key);
    if (counter == NULL) {
        CloseKey(key);
        return ReplyWithError(ctx, "WRONGTYPE not a counter");
    }
    counter->value = (keep ? counter->value : 0) + number;
    counter->changes += 1;
    long long value = counter->value;
    CloseKey(key);
    ReplicateVerbatim(ctx);
    return ReplyWithLongLong(ctx, value);
}

static int set(Context *ctx, String **argv, int argc) {
    return change(ctx, argv, argc, 0);
}

static int incr(Context *ctx, String **argv, int argc) {
    return change(ctx, argv, argc, 1);
}

static int sum(Context *ctx, String **argv, int argc) {
    long long keys;
    int counts = argc >= 3 && StringToLongLong(argv[1], &keys) == OK && keys == argc - 2;
    if (IsKeysPositionRequest(ctx)) {
        for (int at = 2; counts && at < argc; at++) KeyAtPos(ctx, at);
        return OK;
    }
    if (!counts) return WrongArity(ctx);
    long long all = 0;
    for (int at = 2; at < argc; at++) {
        Key *key = OpenKey(ctx, argv[at], READ | WRITE);
        struct Counter *counter = counter_at(key);
        all += counter ? counter->value : 0;
        if (at == argc - 1 && counter) {
            counter->value = all;
            counter->changes += 1;
        }
        CloseKey(key);
    }
    ReplicateVerbatim(ctx);
    return ReplyWithLongLong(ctx, all);
}

static int get(Context *ctx, String **argv, int argc) {
    if (argc != 2) return WrongArity(ctx);
    Key *key = OpenKey(ctx, argv[1], READ);
    struct Counter none = {0, 0}, *counter = &none;
    if (key && KeyType(key) != EMPTY && ModuleTypeGetType(key) == counter_type)
        counter = ModuleTypeGetValue(key);
    ReplyWithArray(ctx, 2);
    ReplyWithLongLong(ctx, counter->value);
    ReplyWithLongLong(ctx, counter->changes);
    if (key) CloseKey(key);
    return OK;
}

static int take_note(Context *ctx, String **argv, int argc) {
    if (argc == 2) {
        size_t length = 0;
        const char *text = StringPtrLen(argv[1], &length);
        if (length >= sizeof note) return ReplyWithError(ctx, "ERR too long");
        memcpy(note, text, length);
        note[length] = 0;
    }
    return ReplyWithStringBuffer(ctx, note, strlen(note));
}

int RedisModule_OnLoad(Context *ctx, String **argv, int argc) {
    (void)argv, (void)argc;
    int (*function)(const char *, void *) = (int (*)(const char *, void *))(((void **)ctx)[0]);
#define FIND(result, name, args) \
    if (function("RedisModule_" #name, (void *)&name) != OK) return ERROR;
    FUNCTIONS(FIND)
    if (SetModuleAttribs(ctx, "counter", 1, 1) == ERROR) return ERROR;
    static struct TypeMethods methods = {
        2, load, save, rewrite, NULL, NULL, free, load_note, save_note, AFTER_THE_KEYS,
    };
    counter_type = CreateDataType(ctx, "kfcounter", 1, &methods);
    if (counter_type == NULL) return ERROR;
    int made = CreateCommand(ctx, "counter.set", set, "write deny-oom", 1, 1, 1) |
               CreateCommand(ctx, "counter.incr", incr, "write deny-oom", 1, 1, 1) |
               CreateCommand(ctx, "counter.sum", sum, "write getkeys-api", 0, 0, 0) |
               CreateCommand(ctx, "counter.get", get, "readonly", 1, 1, 1) |
               CreateCommand(ctx, "counter.note", take_note, "readonly", 0, 0, 0);
    return made == OK ? OK : ERROR;
}
