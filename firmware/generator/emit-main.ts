import { stringLiteral } from './c-names.ts'

export const MODEL_HEADER = `/* Generated: what main.c needs of the register map. */
#ifndef SL_MODEL_H
#define SL_MODEL_H

#include "registers.h"

extern const sl_register_map sl_model_map;

/** Brings back what survived the power cut. */
void sl_model_restore(void);
/** Puts changed values into the flash. */
void sl_model_keep(void);

#endif
`

export interface MainOptions {
  readonly model: string
  readonly vendor: string
  readonly description: string | undefined
  readonly board: string
  readonly version: { readonly major: number; readonly minor: number; readonly revision: number }
  readonly hash: Uint8Array
  readonly unit: number
  readonly line: {
    readonly baud: number
    readonly parity: 'none' | 'even' | 'odd'
    readonly stopBits: 1 | 2
    readonly shared: boolean
  }
  /** Updated over the line it serves. */
  readonly managed: boolean
  /** And on a serial line of its own. */
  readonly managedOn?: { readonly uart: number; readonly baud: number }
  readonly hooks: boolean
  readonly watchdogMs: number
}

/** How often the application's loop is called, and how often a line that nobody else reads is looked at. */
const LOOP_US = 20_000
const OFTEN_US = 1000
const OFTEN = `  static uint32_t called_us;
  sl_manage_line_loop();
  if (sl_hal_now_us() - called_us < ${LOOP_US}u) return;
  called_us = sl_hal_now_us();
`

/** Objects of function 43/14 share an answer of at most 253 bytes with others; longer ones could not be sent. */
const OBJECT_BYTES = 80

function object(text: string): string {
  const ascii = text
    .replace(/\s+/g, ' ')
    .replace(/[^\x20-\x7e]/g, '?')
    .trim()
  return stringLiteral(ascii.slice(0, OBJECT_BYTES))
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** main.c: who the board is, its line, and the application around the register map. */
export function mainSource(options: MainOptions): string {
  const { version, line, managed, managedOn, hooks } = options
  const parity = { none: 'SL_PARITY_NONE', even: 'SL_PARITY_EVEN', odd: 'SL_PARITY_ODD' }[line.parity]
  const number = `${version.major}.${version.minor}.${version.revision}`
  const hash = [...options.hash].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(', ')
  const identity = [
    object(options.vendor),
    object(options.model),
    object(number),
    'NULL',
    options.description === undefined ? 'NULL' : object(options.description),
    object(options.board),
    object('Sluice'),
  ]
  return `/* Generated from the model ${options.model}; the next "sluice fw gen" writes it anew. */
#include "board.h"
#include "model.h"
#include "runtime.h"
${managed ? '#include "boot-note.h"\n#include "manage.h"\n' : ''}${managedOn === undefined ? '' : '#include "manage-line.h"\n'}${
  hooks
    ? `
__attribute__((weak)) void app_setup(void);
__attribute__((weak)) void app_loop(void);
__attribute__((weak)) void app_setup(void) {}
__attribute__((weak)) void app_loop(void) {}
`
    : ''
}
static const char *const extended[] = {${stringLiteral(hex(options.hash))}};
static const sl_identity identity = {
  {${identity.join(', ')}}, extended, 1,
};
static const sl_firmware firmware = {{${hash}}, ${version.major}, ${version.minor}, ${version.revision}};
static const sl_modbus_line lines[1] = {{0, {${line.baud}, ${parity}, ${line.stopBits}}, ${line.shared}, false}};
static sl_modbus_port ports[1];

${managedOn === undefined ? '' : `static const sl_uart_line managed_on = {${managedOn.baud}, SL_PARITY_NONE, 1};\n\n`}static void setup(void) {
  sl_model_restore();
${managed ? '  sl_manage_start(firmware.model_hash);\n' : ''}${managedOn === undefined ? '' : `  sl_manage_line_start(${managedOn.uart}, &managed_on);\n`}${hooks ? '  app_setup();\n' : ''}}

static void loop(void) {
${managedOn === undefined ? '' : OFTEN}${managed ? '  sl_manage_loop();\n' : ''}  sl_model_keep();
${hooks ? '  app_loop();\n' : ''}}

static const sl_app app = {
  .map = &sl_model_map, .identity = &identity, .firmware = &firmware, .unit = ${options.unit}, .lines = lines, .ports = ports,
  .line_count = 1, ${managed ? '.user = sl_manage_user, .boot_state = sl_boot_word, ' : ''}.setup = setup, .loop = loop,
  .loop_every_us = ${managedOn === undefined ? LOOP_US : OFTEN_US}, .watchdog_ms = ${options.watchdogMs},
};

int main(void) { sl_run(&app); }
`
}
