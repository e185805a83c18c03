import type { DeviceModelSpec, DeviceSpec, ModelProperty } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { airtimeMs } from './airtime.ts'
import { DATA_OVERHEAD } from './codec.ts'
import { addressOf, expectedEveryMs } from './device-config.ts'
import { sizeOf } from './layout.ts'
import { bindingOf, modelOf } from './point.ts'
import { regionOf } from './regions/all.ts'
import { dutyBandOf } from './regions/region.ts'
import type { LoraModel, LoraProperty } from './schema.ts'

const DEFAULT_DEADLINE_MS = 30_000
const MIN_DECODER_MS = 1

type Path = readonly (string | number)[]

/** What LoRaWAN knows to say about a model and the devices that use it. */
export function lintLora(model: DeviceModelSpec, devices: readonly DeviceSpec[]): readonly Finding[] {
  const options = modelOf(model)
  const mine = devices.filter((device) => addressOf(device) !== undefined)
  const findings: Finding[] = []
  model.properties.forEach((property, index) => {
    const binding = bindingOf(property)
    if (binding === undefined) return
    const path = ['spec', 'properties', index, 'lora']
    findings.push(...lintSource(property, binding, options, mine, path), ...lintWrite(property, binding, options, path))
    findings.push(...lintPatience(property, options, mine, model, ['spec', 'properties', index]))
  })
  findings.push(...lintDecoder(options))
  devices.forEach((device, index) => {
    if (addressOf(device) !== undefined) findings.push(...lintDevice(device, model, ['devices', index]))
  })
  return findings
}

const warn = (code: string, message: string, hint: string, path: Path, at: 'key' | 'value' = 'value'): Finding => ({
  severity: 'warning',
  code,
  message,
  hint,
  path,
  at,
})

const fail = (code: string, message: string, hint: string, path: Path): Finding => ({
  severity: 'error',
  code,
  message,
  hint,
  path,
})

function lintSource(
  property: ModelProperty,
  binding: LoraProperty,
  options: LoraModel,
  devices: readonly DeviceSpec[],
  path: Path,
): Finding[] {
  const findings: Finding[] = []
  const local = devices.some((device) => addressOf(device)?.server === 'local')
  if (binding.field !== undefined && options.decoder === undefined && local) {
    findings.push(
      fail(
        'SLUICE_LINT_LORA_DECODER',
        `${property.name} is a field of a decoder's output, and the model has no decoder`,
        'Give lora.decoder in the model; only ChirpStack and The Things Stack bring decoded objects.',
        [...path, 'field'],
      ),
    )
  }
  const textual = binding.as === 'string' || binding.as === 'bytes'
  if (binding.at !== undefined && textual && property.type !== binding.as) {
    findings.push(
      fail(
        'SLUICE_LINT_TYPE',
        `${property.name} has type ${property.type} and is read as ${binding.as}`,
        `Say type: ${binding.as}.`,
        [...path, 'as'],
      ),
    )
  }
  if (binding.at !== undefined && !textual && !['int', 'float', 'bool', 'string'].includes(property.type)) {
    findings.push(
      fail(
        'SLUICE_LINT_TYPE',
        `${property.name} has type ${property.type} and is read as a number`,
        'Say type: int, float or bool.',
        [...path, 'at'],
      ),
    )
  }
  if (binding.at !== undefined && binding.at < 0 && -binding.at < sizeOf(binding.as ?? 'uint8', binding.length)) {
    findings.push(
      fail(
        'SLUICE_LINT_ADDRESS',
        `${property.name} starts ${-binding.at} bytes before the end and is longer`,
        'Start earlier.',
        [...path, 'at'],
      ),
    )
  }
  const fraction = !Number.isInteger(binding.scale ?? 1) || !Number.isInteger(binding.offset ?? 0)
  if (property.type === 'int' && fraction) {
    findings.push(
      warn(
        'SLUICE_LINT_SCALE_ON_INT',
        `${property.name} is an int and has a scale or offset with decimals`,
        'Say type: float.',
        path,
      ),
    )
  }
  return findings
}

function lintWrite(property: ModelProperty, binding: LoraProperty, options: LoraModel, path: Path): Finding[] {
  const writable = (property.access ?? 'read') !== 'read'
  if (writable && binding.downlink === undefined) {
    return [
      fail(
        'SLUICE_LINT_LORA_DOWNLINK',
        `${property.name} is writable and has no downlink`,
        'Give lora.downlink: {port, as} or {field}, or say access: read.',
        path,
      ),
    ]
  }
  if (binding.downlink?.field !== undefined && options.decoder === undefined) {
    return [
      fail(
        'SLUICE_LINT_LORA_DECODER',
        `${property.name} is written through an encoder, and the model has no decoder with one`,
        'Give lora.decoder with encodeDownlink, or lay out the bytes: downlink: {port, as}.',
        [...path, 'downlink', 'field'],
      ),
    ]
  }
  const readable = binding.field !== undefined || binding.at !== undefined
  if (binding.downlink?.readBack === true && !readable) {
    return [
      fail(
        'SLUICE_LINT_LORA_READ_BACK',
        `${property.name} waits to be read back, and no uplink carries it`,
        'Give field or at, or leave out readBack.',
        [...path, 'downlink', 'readBack'],
      ),
    ]
  }
  return []
}

/** A class A device hears a desired value only after its next uplink: a deadline shorter than that always passes. */
function lintPatience(
  property: ModelProperty,
  options: LoraModel,
  devices: readonly DeviceSpec[],
  model: DeviceModelSpec,
  path: Path,
): Finding[] {
  if ((property.access ?? 'read') === 'read' || options.class === 'C') return []
  const deadline = property.write?.deadline
  const deadlineMs = deadline === undefined ? DEFAULT_DEADLINE_MS : durationMs(deadline)
  const everyMs = Math.max(
    0,
    ...devices.map((device) => expectedEveryMs(device, model) ?? 0),
    expectedEveryMs({}, model) ?? 0,
  )
  if (everyMs === 0 || deadlineMs >= everyMs) return []
  return [
    warn(
      'SLUICE_LINT_LORA_DEADLINE',
      `${property.name} must be applied within ${deadlineMs / 1000} s, but a class A device listens only after it reports, every ${everyMs / 1000} s`,
      `Give write: {deadline: ${Math.ceil((2 * everyMs) / 60_000)}m}, twice the period.`,
      deadline === undefined ? path : [...path, 'write', 'deadline'],
    ),
  ]
}

function lintDecoder(options: LoraModel): Finding[] {
  const findings: Finding[] = []
  const { decoder } = options
  if (decoder !== undefined && !/decodeUplink|Decoder|Decode|encodeDownlink|Encoder|Encode|decoder/.test(decoder)) {
    findings.push(
      fail(
        'SLUICE_LINT_LORA_DECODER',
        'the decoder has neither decodeUplink nor Decoder',
        'Take the file the vendor publishes for ChirpStack or The Things Stack (TS013).',
        ['spec', 'lora', 'decoder'],
      ),
    )
  }
  if (options.decoderTime !== undefined && durationMs(options.decoderTime) < MIN_DECODER_MS) {
    findings.push(
      fail('SLUICE_LINT_LORA_DECODER', 'no decoder is that fast', 'Leave decoderTime out, or give 100ms.', [
        'spec',
        'lora',
        'decoderTime',
      ]),
    )
  }
  return findings
}

function lintDevice(device: DeviceSpec, model: DeviceModelSpec, path: Path): Finding[] {
  const address = addressOf(device)!
  const findings: Finding[] = []
  for (const name of ['appKey', 'nwkSKey', 'appSKey'] as const) {
    if (address[name] === undefined) continue
    findings.push(
      warn(
        'SLUICE_LINT_LORA_INLINE_KEY',
        `${name} stands in the device itself, where everybody who may read devices can read it`,
        'Put it into a file on the gateway and name that in keyFile.',
        [...path, 'lora', name],
        'key',
      ),
    )
  }
  if (address.counterResets === true) {
    findings.push(
      warn(
        'SLUICE_LINT_LORA_COUNTER',
        'with counterResets, recorded frames of the device can be replayed',
        'Use OTAA, or a device that keeps its counters.',
        [...path, 'lora', 'counterResets'],
        'key',
      ),
    )
  }
  const open = address.listen?.host !== undefined && !/^(127\.|::1$|localhost$)/.test(address.listen.host)
  if (open && address.listen?.gateways === undefined) {
    findings.push(
      warn(
        'SLUICE_LINT_LORA_OPEN',
        `the network server listens on ${address.listen?.host} for any gateway, and the protocol has no authentication`,
        'List the EUIs of your gateways in listen.gateways, and keep the port off untrusted networks.',
        [...path, 'lora', 'listen', 'host'],
      ),
    )
  }
  return [...findings, ...lintPeriod(device, model, path)]
}

function lintPeriod(device: DeviceSpec, model: DeviceModelSpec, path: Path): Finding[] {
  const address = addressOf(device)!
  const everyMs = expectedEveryMs(device, model)
  if (everyMs === undefined) return []
  const region = regionOf(address.region ?? modelOf(model).region ?? 'EU868')
  const rate = region.dataRates[region.minDr]
  const share = dutyBandOf(region, region.channels[0]!.frequencyHz)?.share
  if (share === undefined || rate === undefined || rate.fsk === true) return []
  const leastMs = airtimeMs(DATA_OVERHEAD + 1 + 12, rate) / share
  if (everyMs >= leastMs) return []
  return [
    warn(
      'SLUICE_LINT_LORA_DUTY',
      `at SF${rate.sf} the duty cycle of ${region.name} allows 12 bytes every ${Math.ceil(leastMs / 1000)} s, and the device means to report every ${everyMs / 1000} s`,
      'Report more seldom, or make sure that the device is close enough for a faster rate.',
      device.poll?.every === undefined ? [...path, 'lora'] : [...path, 'poll', 'every'],
    ),
  ]
}
