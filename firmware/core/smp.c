#include "smp.h"

#include "bytes.h"
#include "hal.h"
#include "memory.h"
#include "smp-internal.h"

enum { OP_READ = 0, OP_WRITE = 2, GROUP_OS = 0, GROUP_IMAGE = 1, OS_ECHO = 0, OS_RESET = 5, OS_PARAMETERS = 6 };
enum { IMAGE_STATE = 0, IMAGE_UPLOAD = 1, IMAGE_ERASE = 5 };

void sl_smp_start(sl_smp *smp, const sl_layout *layout, int running, bool recovery) {
  memset(smp, 0, sizeof *smp);
  smp->layout = layout;
  smp->running = running;
  smp->recovery = recovery;
  smp->buffer = SL_SMP_MAX;
}

bool sl_smp_lists(const uint8_t *request, size_t size) {
  return size >= SL_SMP_HEADER && sl_get_be16(request + 4) == GROUP_IMAGE && request[7] == IMAGE_STATE;
}

bool sl_smp_field(sl_smp_call *call, sl_cbor_item *name, sl_cbor_item *value) {
  if (call->fields == 0) return false;
  if (call->fields != SL_CBOR_INDEFINITE) call->fields--;
  if (!sl_cbor_next(&call->in, name)) {
    call->rc = SL_SMP_INVALID;
    return false;
  }
  if (name->kind == SL_CBOR_BREAK && call->fields == SL_CBOR_INDEFINITE) return false;
  if (name->kind != SL_CBOR_TEXT || !sl_cbor_next(&call->in, value) || value->kind == SL_CBOR_BREAK) {
    call->rc = SL_SMP_INVALID;
    return false;
  }
  return true;
}

static void echo(sl_smp_call *call) {
  sl_cbor_item name;
  sl_cbor_item value;
  const uint8_t *text = NULL;
  uint32_t size = 0;
  while (sl_smp_field(call, &name, &value)) {
    if (sl_cbor_is(&name, "d") && value.kind == SL_CBOR_TEXT) {
      text = value.bytes;
      size = value.number;
    } else if (!sl_cbor_skip(&call->in, &value)) call->rc = SL_SMP_INVALID;
    if (call->rc != 0) return;
  }
  if (call->rc != 0) return;
  if (text == NULL) {
    call->rc = SL_SMP_INVALID;
    return;
  }
  sl_cbor_map(&call->out, 1);
  sl_cbor_text(&call->out, "r");
  /* A text has the head of a byte string with another major type. */
  uint8_t *head = call->out.at;
  sl_cbor_bytes(&call->out, text, size);
  if (!call->out.full) *head |= 0x20u;
}

static void parameters(const sl_smp *smp, sl_smp_call *call) {
  sl_cbor_map(&call->out, 2);
  sl_cbor_named_uint(&call->out, "buf_size", smp->buffer);
  sl_cbor_named_uint(&call->out, "buf_count", 1);
}

/* What stands on the type plate: enough for a gateway to choose the image of the right slot, or none. */
static void plate(const sl_smp *smp, sl_smp_call *call) {
  uint8_t id[8];
  sl_hal_unique_id(id);
  sl_cbor_map(&call->out, smp->model_hash != NULL ? 10 : 9);
  sl_cbor_text(&call->out, "board");
  sl_cbor_text(&call->out, smp->layout->board);
  sl_cbor_text(&call->out, "id");
  sl_cbor_bytes(&call->out, id, sizeof id);
  if (smp->model_hash != NULL) {
    sl_cbor_text(&call->out, "model");
    sl_cbor_bytes(&call->out, smp->model_hash, SL_IMAGE_MODEL_HASH_SIZE);
  }
  sl_cbor_named_bool(&call->out, "recovery", smp->recovery);
  sl_cbor_text(&call->out, "running");
  sl_cbor_int(&call->out, smp->running);
  sl_cbor_text(&call->out, "slots");
  sl_cbor_array(&call->out, SL_SLOTS);
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) sl_cbor_uint(&call->out, smp->layout->slot[slot]);
  sl_cbor_named_uint(&call->out, "room", sl_slot_room(smp->layout));
  sl_cbor_named_uint(&call->out, "page", smp->layout->page);
  sl_cbor_named_uint(&call->out, "counter", sl_counter_read(smp->layout));
  sl_cbor_named_uint(&call->out, "reset", (uint32_t)sl_hal_reset_reason());
}

static void trial(sl_smp *smp, sl_smp_call *call) {
  sl_cbor_item name;
  sl_cbor_item value;
  uint32_t seconds = 0;
  while (sl_smp_field(call, &name, &value)) {
    if (sl_cbor_is(&name, "trial") && value.kind == SL_CBOR_UINT) seconds = value.number;
    else if (!sl_cbor_skip(&call->in, &value)) call->rc = SL_SMP_INVALID;
    if (call->rc != SL_SMP_OK) return;
  }
  if (call->rc == SL_SMP_OK && (seconds == 0 || seconds > SL_SMP_TRIAL_MAX_S)) call->rc = SL_SMP_INVALID;
  if (call->rc == SL_SMP_OK) smp->trial_s = seconds;
}

static void dispatch(sl_smp *smp, sl_smp_call *call, unsigned op, unsigned group, unsigned command) {
  bool write = op == OP_WRITE;
  call->rc = SL_SMP_OK;
  if (group == GROUP_OS && command == OS_ECHO) echo(call);
  else if (group == GROUP_OS && command == OS_RESET && write) smp->reset_wanted = true;
  else if (group == GROUP_OS && command == OS_PARAMETERS && !write) parameters(smp, call);
  else if (group == SL_SMP_GROUP && command == 0 && !write) plate(smp, call);
  else if (group == SL_SMP_GROUP && command == 1 && write && !smp->recovery) trial(smp, call);
  else if (group == GROUP_IMAGE && command == IMAGE_STATE && !write) sl_smp_image_list(smp, call);
  else if (group == GROUP_IMAGE && command == IMAGE_STATE) sl_smp_image_state(smp, call);
  else if (group == GROUP_IMAGE && command == IMAGE_UPLOAD && write) sl_smp_image_upload(smp, call);
  else if (group == GROUP_IMAGE && command == IMAGE_ERASE && write) sl_smp_image_erase(smp, call);
  else call->rc = SL_SMP_NOT_SUPPORTED;
}

static void error(sl_smp_call *call, unsigned version, unsigned group) {
  bool image = call->why != 0;
  if (version == 0 || call->rc == SL_SMP_NOT_SUPPORTED || call->rc == SL_SMP_INVALID) {
    sl_cbor_map(&call->out, image ? 2 : 1);
    sl_cbor_named_uint(&call->out, "rc", call->rc);
  } else {
    sl_cbor_map(&call->out, image ? 2 : 1);
    sl_cbor_text(&call->out, "err");
    sl_cbor_map(&call->out, 2);
    sl_cbor_named_uint(&call->out, "group", group);
    sl_cbor_named_uint(&call->out, "rc", call->rc);
  }
  if (image) sl_cbor_named_uint(&call->out, "why", call->why);
}

size_t sl_smp_serve(sl_smp *smp, const uint8_t *request, size_t size, uint8_t *answer, size_t room) {
  if (size < SL_SMP_HEADER || room < 64u) return 0;
  unsigned op = request[0] & 7u;
  unsigned version = ((unsigned)request[0] >> 3) & 3u;
  unsigned group = sl_get_be16(request + 4);
  if ((op != OP_READ && op != OP_WRITE) || sl_get_be16(request + 2) != size - SL_SMP_HEADER) return 0;

  uint8_t *body = answer + SL_SMP_HEADER;
  sl_smp_call call = {.in = {request + SL_SMP_HEADER, request + size}, .out = {body, answer + room, false}};
  sl_cbor_item map = {0};
  /* Some clients send nothing at all where a request has no fields. */
  bool empty = size == SL_SMP_HEADER;
  if (version > 1u) call.rc = SL_SMP_NOT_SUPPORTED;
  else if (!empty && (!sl_cbor_next(&call.in, &map) || map.kind != SL_CBOR_MAP)) call.rc = SL_SMP_INVALID;
  else {
    call.fields = map.number;
    dispatch(smp, &call, op, group, request[7]);
  }
  if (call.out.full) call.rc = SL_SMP_TOO_LARGE;
  if (call.rc != SL_SMP_OK) {
    call.out = (sl_cbor_out){body, answer + room, false};
    error(&call, version, group);
  } else if (call.out.at == body) {
    /* mcumgr answers a command that has nothing to say with an empty map in version 2, rc 0 in version 1. */
    sl_cbor_map(&call.out, version == 0 ? 1 : 0);
    if (version == 0) {
      sl_cbor_text(&call.out, "rc");
      sl_cbor_uint(&call.out, 0);
    }
  }
  size_t length = (size_t)(call.out.at - body);
  answer[0] = (uint8_t)(version << 3 | (op + 1u));
  answer[1] = 0;
  sl_put_be16(answer + 2, (uint16_t)length);
  memcpy(answer + 4, request + 4, 4); /* group, sequence, command */
  return SL_SMP_HEADER + length;
}
