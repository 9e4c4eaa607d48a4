/* router/record.c - the tables of a record, and writing it. */
#include "router/record.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "policies/features.h"
#include "router/api/json.h"
#include "router/explain.h"
#include "router/log_private.h"
#include "router/record_private.h"

#define NAME_BYTES 64 /* of the configuration's names */

const char *const hw_record_lane_from_names[] = {"nobody", "agent", "header", NULL};

#define AT(member) offsetof(struct hw_record, member)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct hw_record_field top_fields[] = {
    {"request_id", HW_RECORD_TEXT, AT(request_id), 128, NULL},
    {"agent_hidden", HW_RECORD_BOOL, AT(agent_hidden), 0, NULL},
    {"agent", HW_RECORD_TEXT, AT(agent), NAME_BYTES, NULL},
    {"dialect", HW_RECORD_TEXT, AT(dialect), NAME_BYTES, NULL},
    {"path", HW_RECORD_TEXT, AT(path), 256, NULL},
};
const struct hw_record_object hw_record_top = {top_fields, COUNT(top_fields)};

static const struct hw_record_field traits_fields[] = {
    {"model", HW_RECORD_TEXT, AT(model), 256, NULL},
    {"asked_role", HW_RECORD_TEXT, AT(asked_role), NAME_BYTES, NULL},
    {"role", HW_RECORD_TEXT, AT(role), NAME_BYTES, NULL},
    {"role_by", HW_RECORD_WORD, AT(role_source), 0, hw_role_source_names},
    {"confidence", HW_RECORD_SHARE, AT(confidence), 0, NULL},
    {"lane", HW_RECORD_WORD, AT(lane), 0, hw_lane_names},
    {"lane_from", HW_RECORD_WORD, AT(lane_from), 0, hw_record_lane_from_names},
    {"prompt_bytes", HW_RECORD_U64, AT(prompt_bytes), 0, NULL},
    {"prompt_tokens", HW_RECORD_U32, AT(prompt_tokens), 0, NULL},
    {"max_tokens", HW_RECORD_U32, AT(max_tokens), 0, NULL},
    {"tools", HW_RECORD_BOOL, AT(tools), 0, NULL},
    {"images", HW_RECORD_BOOL, AT(images), 0, NULL},
    {"json", HW_RECORD_BOOL, AT(json), 0, NULL},
    {"stream", HW_RECORD_BOOL, AT(stream), 0, NULL},
    {"embeds", HW_RECORD_BOOL, AT(embeds), 0, NULL},
    {"keepable", HW_RECORD_BOOL, AT(keepable), 0, NULL},
    {"deterministic", HW_RECORD_BOOL, AT(deterministic), 0, NULL},
    {"no_cache", HW_RECORD_BOOL, AT(no_cache), 0, NULL},
    {"conversation", HW_RECORD_HEX, AT(conversation), 0, NULL},
    {"keywords", HW_RECORD_HEX, AT(keywords_digest), 0, NULL},
    {"learned", HW_RECORD_HEX, AT(learned_digest), 0, NULL},
    {"text_bytes", HW_RECORD_U64, AT(text_bytes), 0, NULL},
};
const struct hw_record_object hw_record_traits = {traits_fields, COUNT(traits_fields)};

static const struct hw_record_field decision_fields[] = {
    {"route", HW_RECORD_TEXT, AT(route), NAME_BYTES, NULL},
    {"backend", HW_RECORD_TEXT, AT(backend), NAME_BYTES, NULL},
    {"model", HW_RECORD_TEXT, AT(answered_model), 256, NULL},
    {"fallback", HW_RECORD_BOOL, AT(fallback), 0, NULL},
    {"cache", HW_RECORD_TEXT, AT(cache), NAME_BYTES, NULL},
    {"shadow", HW_RECORD_TEXT, AT(shadow), NAME_BYTES, NULL},
};
const struct hw_record_object hw_record_decision = {decision_fields, COUNT(decision_fields)};

static const struct hw_record_field outcome_fields[] = {
    {"status", HW_RECORD_STATUS, AT(status), 0, NULL},
    {"attempts", HW_RECORD_U32, AT(attempts), 0, NULL},
    {"duration_ms", HW_RECORD_MS, AT(duration_us), 0, NULL},
    {"first_token_ms", HW_RECORD_MS, AT(first_token_us), 0, NULL},
    {"ttft_ms", HW_RECORD_MS, AT(ttft_us), 0, NULL},
    {"decode_ms", HW_RECORD_MS, AT(decode_us), 0, NULL},
    {"output_bytes", HW_RECORD_U64, AT(output_bytes), 0, NULL},
    {"usage", HW_RECORD_BOOL, AT(usage_known), 0, NULL},
    {"prompt_tokens", HW_RECORD_U64, AT(reported_prompt_tokens), 0, NULL},
    {"output_tokens", HW_RECORD_U64, AT(output_tokens), 0, NULL},
    {"finish", HW_RECORD_TEXT, AT(finish), NAME_BYTES, NULL},
};
const struct hw_record_object hw_record_outcome = {outcome_fields, COUNT(outcome_fields)};

/* --- writing --- */

static void
put_ms(struct hw_buf *out, const char *name, uint64_t us)
{
    hw_log_number(out, name, us / 1000);
    hw_buf_printf(out, ".%03u", (unsigned)(us % 1000));
}

static void
put_number(struct hw_buf *out, const char *name, uint64_t number)
{
    if (number != 0)
        hw_log_number(out, name, number);
}

static void
put_field(struct hw_buf *out, const char *name, const struct hw_record_field *field, const void *at)
{
    switch (field->kind) {
    case HW_RECORD_TEXT:
        hw_log_text(out, name, *(const char *const *)at);
        break;
    case HW_RECORD_BOOL:
        if (*(const bool *)at)
            hw_buf_printf(out, "%strue", name);
        break;
    case HW_RECORD_U32:
        put_number(out, name, *(const uint32_t *)at);
        break;
    case HW_RECORD_U64:
        put_number(out, name, *(const uint64_t *)at);
        break;
    case HW_RECORD_MS:
        if (*(const uint64_t *)at != 0)
            put_ms(out, name, *(const uint64_t *)at);
        break;
    case HW_RECORD_HEX:
        if (*(const uint64_t *)at != 0)
            hw_buf_printf(out, "%s\"%016llx\"", name, *(const unsigned long long *)at);
        break;
    case HW_RECORD_SHARE:
        if (*(const float *)at > 0)
            hw_buf_printf(out, "%s%.4g", name, (double)*(const float *)at);
        break;
    case HW_RECORD_STATUS:
        hw_log_number(out, name, (uint64_t)(*(const int *)at > 0 ? *(const int *)at : 0));
        break;
    case HW_RECORD_WORD:
        if (*(const unsigned *)at != 0 || field->words == hw_lane_names)
            hw_log_text(out, name, field->words[*(const unsigned *)at]);
        break;
    }
}

static void
put_fields(struct hw_buf *out, const struct hw_record_object *object,
           const struct hw_record *record)
{
    char name[40];

    for (size_t i = 0; i < object->count; i++) {
        bool first = out->len > 0 && out->data[out->len - 1] == '{';
        snprintf(name, sizeof(name), ",\"%s\":", object->fields[i].name);
        put_field(out, first ? name + 1 : name, &object->fields[i],
                  (const char *)record + object->fields[i].offset);
    }
}

static void
put_headers(struct hw_buf *out, const struct hw_record *record)
{
    if (record->header_count == 0)
        return;
    hw_buf_puts(out, ",\"headers\":{");
    for (size_t i = 0; i < record->header_count; i++) {
        const struct hw_record_header *header = &record->headers[i];
        hw_buf_puts(out, i > 0 ? "," : "");
        hw_json_write_string(out, header->name, strlen(header->name));
        hw_buf_puts(out, ":");
        if (header->value == NULL)
            hw_buf_puts(out, "null");
        else
            hw_json_write_string(out, header->value, header->len);
    }
    hw_buf_puts(out, "}");
}

static void
put_features(struct hw_buf *out, const struct hw_record *record)
{
    size_t bytes = record->feature_count * sizeof(uint16_t);
    size_t size = sodium_base64_encoded_len(bytes, sodium_base64_VARIANT_ORIGINAL);

    if (record->features == NULL)
        return;
    hw_buf_printf(out, ",\"features\":{\"version\":%d,\"bits\":%d,\"buckets\":\"",
                  HW_FEATURES_VERSION, HW_FEATURE_BITS_MAX);
    if (hw_buf_reserve(out, size) == 0) { /* little-endian, as the machines are that we run on */
        sodium_bin2base64(out->data + out->len, size, (const unsigned char *)record->features,
                          bytes, sodium_base64_VARIANT_ORIGINAL);
        out->len += size - 1;
    }
    hw_buf_puts(out, "\"}");
}

static void
put_text(struct hw_buf *out, const struct hw_record *record)
{
    if (record->text == NULL)
        return;
    hw_buf_puts(out, ",\"text\":");
    hw_json_write_string(out, record->text, record->text_len);
}

static void
put_candidates(struct hw_buf *out, const struct hw_record *record)
{
    hw_buf_puts(out, "\"candidates\":[");
    for (size_t i = 0; i < record->candidate_count; i++) {
        const struct hw_record_candidate *candidate = &record->candidates[i];
        double us = candidate->expected_ms * 1000;
        hw_buf_puts(out, i > 0 ? ",{\"backend\":" : "{\"backend\":");
        hw_json_write_string(out, candidate->backend, strlen(candidate->backend));
        put_ms(out, ",\"expected_ms\":", us > 0 && us < 1e15 ? (uint64_t)us : 0);
        hw_buf_puts(out, "}");
    }
    hw_buf_puts(out, "]");
}

int
hw_record_write(const struct hw_record *record, struct hw_buf *out)
{
    char time_text[HW_LOG_TIME_BYTES];
    size_t before = out->len;

    hw_log_time_at(record->time_ms, time_text);
    hw_buf_printf(out, "{\"v\":%d,\"time\":\"%s\"", HW_RECORD_VERSION, time_text);
    put_fields(out, &hw_record_top, record);
    hw_buf_puts(out, ",\"traits\":{");
    put_fields(out, &hw_record_traits, record);
    put_headers(out, record);
    put_text(out, record);
    put_features(out, record);
    hw_buf_puts(out, "},\"decision\":{");
    put_candidates(out, record);
    put_fields(out, &hw_record_decision, record);
    hw_buf_puts(out, "},\"outcome\":{");
    put_fields(out, &hw_record_outcome, record);
    hw_buf_puts(out, "}}\n");
    return out->failed || out->len - before > HW_RECORD_LINE_MAX ? HW_ELIMIT : 0;
}
