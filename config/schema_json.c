/* config/schema_json.c - the tables of keys as a JSON Schema (draft 7), for editors that complete
 * and check YAML.
 *
 * Written from the same tables that a file is read by, so that no key can be in one and not in the
 * other. Every table becomes a definition named by the key it was first met under; a table that
 * contains itself (the conditions of any, all, not) is nothing special then. What the common
 * setters take is known here, for the others a key's shape and pattern tell. It cannot say all:
 * that a name must exist, or that hours overlap, only `hatchway check` knows. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/sections.h"
#include "hatchway/assert.h"

#define TABLES_MAX 64
#define NAME_BYTES 40

struct writer {
    struct hw_buf *out;
    struct {
        const struct hw_key *keys;
        char name[NAME_BYTES];
    } tables[TABLES_MAX];
    size_t table_count;
};

/* Any value may come from the environment. */
#define FROM_ENVIRONMENT "{\"$ref\":\"#/definitions/environment\"}"
#define WHOLE_NUMBER ",{\"type\":\"integer\",\"minimum\":0}"
#define DURATION "^([0-9]+ *([mM][sS]|[sSmMhHdD])|0)$"
#define RANGE "^([<>]=? *[0-9]+|[0-9]+([.][.][0-9]+)?)$"
#define SIZE "^[0-9]+ *([kKmMgG]?[bB]?|[kKmMgG][iI][bB])$"
#define NAME "^[A-Za-z0-9._:/-]{1,64}$"

static void
put_text(struct writer *w, const char *text)
{
    hw_buf_puts(w->out, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            hw_buf_puts(w->out, "\\");
        hw_buf_append(w->out, text, 1);
    }
    hw_buf_puts(w->out, "\"");
}

static const char *
table_name(struct writer *w, const struct hw_key *keys, const char *met_as)
{
    size_t taken = 0;
    for (size_t i = 0; i < w->table_count; i++) {
        if (w->tables[i].keys == keys)
            return w->tables[i].name;
        size_t len = strlen(met_as);
        taken += strncmp(w->tables[i].name, met_as, len) == 0 &&
                 (w->tables[i].name[len] == '\0' || w->tables[i].name[len] == '-');
    }
    HW_ASSERT(w->table_count < TABLES_MAX);
    char *name = w->tables[w->table_count].name;
    if (taken == 0)
        snprintf(name, NAME_BYTES, "%s", met_as);
    else
        snprintf(name, NAME_BYTES, "%.30s-%zu", met_as, taken + 1);
    w->tables[w->table_count++].keys = keys;
    return name;
}

/* --- values --------------------------------------------------------------------------------- */

static void
put_section(struct writer *w, const struct hw_key *keys, const char *met_as)
{
    hw_buf_printf(w->out, "{\"$ref\":\"#/definitions/%s\"}", table_name(w, keys, met_as));
}

static void
put_words(struct writer *w, const char *const *words)
{
    hw_buf_puts(w->out, "{\"enum\":[");
    for (size_t i = 0; words[i] != NULL; i++) {
        hw_buf_puts(w->out, i > 0 ? "," : "");
        put_text(w, words[i]);
    }
    hw_buf_puts(w->out, "]}");
}

static void
put_scalar(struct writer *w, const char *pattern)
{
    if (pattern == NULL) {
        hw_buf_puts(w->out, "{\"type\":[\"string\",\"number\",\"boolean\"]}");
        return;
    }
    hw_buf_puts(w->out, "{\"type\":\"string\",\"pattern\":");
    put_text(w, pattern);
    hw_buf_puts(w->out, "}");
}

static void
put_one(struct writer *w, const struct hw_key *key)
{
    if (key->words != NULL)
        put_words(w, key->words);
    else
        put_scalar(w, key->pattern);
}

static void
put_bound(struct writer *w, const char *name, uint64_t bound)
{
    hw_buf_printf(w->out, ",\"%s\":%" PRIu64, name, bound);
}

static void
put_number(struct writer *w, const struct hw_key *key)
{
    bool decimal = key->set == hw_set_decimal;
    hw_buf_printf(w->out, "{\"type\":\"%s\"", decimal ? "number" : "integer");
    if (key->set == hw_set_int)
        hw_buf_printf(w->out, ",\"minimum\":-%" PRIu64, key->max);
    else
        put_bound(w, "minimum", key->min);
    if (key->max > 0)
        put_bound(w, "maximum", key->max);
    hw_buf_puts(w->out, "}");
}

/* One, or a list of them; nothing written is an empty list. */
static void
put_list(struct writer *w, const struct hw_key *key)
{
    put_one(w, key);
    hw_buf_puts(w->out, "," FROM_ENVIRONMENT ",{\"type\":[\"array\",\"null\"]");
    if (key->max > 0)
        put_bound(w, "maxItems", key->max);
    hw_buf_puts(w->out, ",\"items\":{\"anyOf\":[");
    put_one(w, key);
    hw_buf_puts(w->out, "," FROM_ENVIRONMENT "]}}");
}

static void
put_array(struct writer *w, const struct hw_key *key, const struct hw_key *keys)
{
    hw_buf_puts(w->out, "{\"type\":[\"array\",\"null\"]");
    if (key->max > 0)
        put_bound(w, "maxItems", key->max);
    hw_buf_puts(w->out, ",\"items\":");
    put_section(w, keys, key->name);
    hw_buf_puts(w->out, "}");
}

static void
put_named(struct writer *w, const struct hw_key *key, enum hw_shape shape)
{
    hw_buf_puts(w->out, "{\"type\":[\"object\",\"null\"]");
    if (key->max > 0)
        put_bound(w, "maxProperties", key->max);
    hw_buf_puts(w->out, ",\"additionalProperties\":");
    if (shape == HW_SHAPE_NAMED_SECTIONS) {
        put_section(w, key->keys, key->name);
    } else {
        hw_buf_puts(w->out, "{\"anyOf\":[");
        put_list(w, &(struct hw_key){.name = key->name});
        hw_buf_puts(w->out, "]}");
    }
    hw_buf_puts(w->out, "}");
}

static enum hw_shape
shape_of(const struct hw_key *key)
{
    static const struct {
        hw_setter *set;
        enum hw_shape shape;
    } known[] = {
        {hw_set_count, HW_SHAPE_NUMBER},      {hw_set_int, HW_SHAPE_NUMBER},
        {hw_set_decimal, HW_SHAPE_NUMBER},    {hw_set_bool, HW_SHAPE_BOOL},
        {hw_set_duration, HW_SHAPE_DURATION}, {hw_set_size, HW_SHAPE_SIZE},
        {hw_set_name, HW_SHAPE_NAME},         {hw_set_word, HW_SHAPE_SCALAR},
        {hw_set_text, HW_SHAPE_SCALAR},       {hw_set_records, HW_SHAPE_RECORDS},
    };
    if (key->shape != HW_SHAPE_OF_SETTER)
        return key->shape;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].set == key->set)
            return known[i].shape;
    return key->keys != NULL ? HW_SHAPE_SECTION : HW_SHAPE_LIST;
}

/* The alternatives of a value, with commas between them. */
static void
put_alternatives(struct writer *w, const struct hw_key *key)
{
    enum hw_shape shape = shape_of(key);
    switch (shape) {
    case HW_SHAPE_NUMBER:
        put_number(w, key);
        break;
    case HW_SHAPE_BOOL:
        hw_buf_puts(w->out, "{\"enum\":[true,false,\"yes\",\"no\",\"on\",\"off\"]}");
        break;
    case HW_SHAPE_DURATION:
        put_scalar(w, DURATION);
        hw_buf_puts(w->out, ",{\"const\":0}");
        break;
    case HW_SHAPE_SIZE:
        put_scalar(w, SIZE);
        hw_buf_puts(w->out, WHOLE_NUMBER);
        break;
    case HW_SHAPE_NAME:
        put_scalar(w, NAME);
        hw_buf_puts(w->out, WHOLE_NUMBER);
        break;
    case HW_SHAPE_RANGE:
        put_scalar(w, RANGE);
        hw_buf_puts(w->out, WHOLE_NUMBER);
        break;
    case HW_SHAPE_SCALAR:
        put_one(w, key);
        break;
    case HW_SHAPE_LIST_OR_SECTION:
        put_section(w, key->keys, key->name);
        hw_buf_puts(w->out, ",");
        put_list(w, key);
        break;
    case HW_SHAPE_SECTIONS:
        put_section(w, key->keys, "when");
        hw_buf_puts(w->out, ",");
        put_array(w, key, key->keys);
        break;
    case HW_SHAPE_NAMED_SECTIONS:
    case HW_SHAPE_NAMED_LISTS:
        put_named(w, key, shape);
        break;
    case HW_SHAPE_SECTION:
        put_section(w, key->keys, key->name);
        break;
    case HW_SHAPE_RECORDS:
        put_array(w, key, key->records->keys);
        break;
    case HW_SHAPE_LIST:
    case HW_SHAPE_OF_SETTER:
        put_list(w, key);
        break;
    }
}

/* Lists say it themselves. */
static bool
is_one_value(enum hw_shape shape)
{
    return shape != HW_SHAPE_LIST && shape < HW_SHAPE_SECTION;
}

static void
put_key(struct writer *w, const struct hw_key *key)
{
    put_text(w, key->name);
    hw_buf_puts(w->out, ":{\"anyOf\":[");
    put_alternatives(w, key);
    if (is_one_value(shape_of(key)))
        hw_buf_puts(w->out, "," FROM_ENVIRONMENT);
    hw_buf_puts(w->out, "]");
    if (key->fallback != NULL) {
        hw_buf_puts(w->out, ",\"default\":");
        put_text(w, key->fallback);
    }
    hw_buf_puts(w->out, "}");
}

/* --- tables --------------------------------------------------------------------------------- */

static void
put_table(struct writer *w, const struct hw_key *keys)
{
    const char *comma = "";
    hw_buf_puts(w->out, "{\"type\":[\"object\",\"null\"],\"additionalProperties\":false");
    for (const struct hw_key *key = keys; key->name != NULL; key++) {
        if (!key->required)
            continue;
        hw_buf_puts(w->out, *comma == '\0' ? ",\"required\":[" : comma);
        put_text(w, key->name);
        comma = ",";
    }
    hw_buf_puts(w->out, *comma != '\0' ? "]" : "");
    hw_buf_puts(w->out, ",\"properties\":{");
    for (const struct hw_key *key = keys; key->name != NULL; key++) {
        hw_buf_puts(w->out, key == keys ? "\n  " : ",\n  ");
        put_key(w, key);
    }
    hw_buf_puts(w->out, "}}");
}

void
hw_config_schema(struct hw_buf *out)
{
    struct writer *w = hw_xcalloc(1, sizeof(*w));
    w->out = out;
    hw_buf_puts(out, "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\n"
                     "\"title\":\"Hatchway's configuration\",\n"
                     "\"$ref\":\"#/definitions/configuration\",\n"
                     "\"definitions\":{\n"
                     "\"environment\":{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}");
    table_name(w, hw_keys_top, "configuration");
    for (size_t i = 0; i < w->table_count; i++) { /* grows while it is written */
        hw_buf_puts(out, ",\n");
        put_text(w, w->tables[i].name);
        hw_buf_puts(out, ":");
        put_table(w, w->tables[i].keys);
    }
    hw_buf_puts(out, "}}\n");
    free(w);
}
