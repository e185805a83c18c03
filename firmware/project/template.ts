import { snakeCase } from '../generator/c-names.ts'

/** What `sluice fw init` begins with: a thermometer and a fan, in values that any board can show without parts. */
export const modelTemplate = (name: string): string => `apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: {name: ${name}}
spec:
  description: A board that measures a temperature and drives a fan
  properties:
    # Addresses are given by "sluice fw gen" and kept in firmware.lock.yaml. Bind them yourself where they must be
    # certain ones: modbus: {input: 0x0010, as: int16, scale: 0.1}
    - {name: temperature, type: float, unit: degC, min: -40, max: 125, precision: 0.1, role: temperature}
    - {name: humidity, type: int, unit: "%", min: 0, max: 100}
    - {name: fan, type: bool, access: readwrite}
    - {name: setpoint, type: float, unit: degC, access: readwrite, min: 5, max: 35, precision: 0.5}
    - {name: mode, type: string, access: readwrite, enum: ["off", manual, automatic]}
`

export const projectTemplate = (board: string): string => `board: ${board}
model: model.yaml
version: 0.1.0
unit: 1
line: {baud: 115200}
# Where the board will be found by its gateway.
gateway: {port: /dev/ttyACM0}
properties:
  # First value, and whether it survives a power cut.
  setpoint: {default: 21, persist: true}
  mode: {default: manual, persist: true}
`

export const ignoreTemplate = 'build/\n'

export interface TemplateProperty {
  readonly name: string
  readonly id: string
  readonly writable: boolean
  /** As C writes it before a name: `float `, `char *`. */
  readonly place: string
  readonly given: string
  readonly unit: string | undefined
}

/** app.c for a model: written once, never touched again. */
export function appTemplate(model: string, properties: readonly TemplateProperty[]): string {
  const hooks = properties.map((each) => (each.writable ? writeHook(each) : readHook(each)))
  return `/**
 * The application of ${snakeCase(model)}: the only file here that is yours; nothing writes it again.
 *
 * Fill in what the board can do. A function that is left out does nothing: a value that nobody reads keeps its first
 * value, and what is written is stored. properties.h says what each value is; hal.h has pins, ADC, I2C and time.
 */
#include "properties.h"
#include "hal.h"

void app_setup(void) {}

/* Every 20 ms or sooner; must not wait. */
void app_loop(void) {}

${hooks.join('\n\n')}
`
}

const readHook = ({ id, name, place, unit }: TemplateProperty): string =>
  `/* ${name}${unit === undefined ? '' : ` in ${unit}`}: put the newest value into *value; SL_FAILED when the sensor does not answer. */
sl_result read_${id}(${place}value) {
  (void)value;
  return SL_OK;
}`

const writeHook = ({ id, name, given }: TemplateProperty): string =>
  `/* ${name} was written and is within its limits: do it, or refuse with SL_FAILED or SL_BUSY. */
sl_result on_write_${id}(${given}value) {
  (void)value;
  return SL_OK;
}`
