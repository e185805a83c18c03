import { toSluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec, DeviceSpec } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { topicMatches } from '../sdk/topic-filter.ts'
import { addressOf, compileDevice, namesOf } from './device-config.ts'
import { planRoutes } from './plan.ts'
import { bindingOf, compilePoint, formatOf, modelOf, type Point } from './point.ts'

/** What MQTT knows to say about a model and the devices that use it. */
export function lintMqtt(model: DeviceModelSpec, devices: readonly DeviceSpec[]): readonly Finding[] {
  const findings: Finding[] = []
  const names = namesOf('namespace/device', { base: 'base', device: 'device' })
  const points: { readonly point: Point; readonly index: number }[] = []
  model.properties.forEach((property, index) => {
    const binding = bindingOf(property)
    if (binding === undefined) return
    const path = ['spec', 'properties', index, 'mqtt']
    try {
      const point = compilePoint(property, modelOf(model), names)
      if (point !== undefined) points.push({ point, index })
    } catch (error) {
      const { message, hint = 'Check the topic and the path.' } = toSluiceError(error)
      findings.push({ severity: 'error', code: 'SLUICE_LINT_MQTT', message, hint, path })
      return
    }
    const writable = (property.access ?? 'read') !== 'read'
    if (writable && binding.command === undefined && binding.metric === undefined) {
      findings.push({
        severity: 'error',
        code: 'SLUICE_LINT_NO_COMMAND',
        message: `${property.name} is writable, but nothing says how to write it`,
        hint: 'Give mqtt.command with a topic, or say access: read.',
        path,
      })
    }
    if (!writable && binding.command !== undefined) {
      findings.push({
        severity: 'warning',
        code: 'SLUICE_LINT_UNUSED_COMMAND',
        message: `${property.name} has a command, but its access is read`,
        hint: 'Say access: readwrite, or remove the command.',
        path: [...path, 'command'],
      })
    }
    if (writable && binding.topic === undefined && binding.metric === undefined && property.access === 'readwrite') {
      findings.push({
        severity: 'warning',
        code: 'SLUICE_LINT_WRITE_ONLY',
        message: `${property.name} says readwrite, but there is no topic to read it from`,
        hint: 'Give mqtt.topic, or say access: write.',
        path,
      })
    }
    if (binding.command?.retain === true) {
      findings.push({
        severity: 'warning',
        code: 'SLUICE_LINT_RETAINED_COMMAND',
        message: `the command of ${property.name} is retained: the device carries it out again after every reconnect`,
        hint: 'Leave retain away; Sluice keeps the desired value and sends it when it is needed.',
        path: [...path, 'command', 'retain'],
      })
    }
    const format = formatOf(property, binding)
    if (binding.path !== undefined && ['text', 'number', 'bool', 'bytes'].includes(format)) {
      findings.push({
        severity: 'error',
        code: 'SLUICE_LINT_PATH_UNUSED',
        message: `${property.name} has a path, but a ${format} payload has no parts`,
        hint: 'Remove as, or say json, cbor or protobuf.',
        path: [...path, 'path'],
      })
    }
  })
  return [...findings, ...lintDoubles(points), ...lintShared(model, devices)]
}

function lintDoubles(points: readonly { readonly point: Point; readonly index: number }[]): Finding[] {
  const seen = new Map<string, string>()
  return points.flatMap(({ point, index }) => {
    if (point.topic === undefined && point.metric === undefined) return []
    const key = JSON.stringify([point.topic, point.metric, point.place])
    const other = seen.get(key)
    seen.set(key, point.name)
    if (other === undefined) return []
    return [
      {
        severity: 'warning',
        code: 'SLUICE_LINT_DUPLICATE',
        message: `${point.name} and ${other} read the very same thing`,
        hint: 'Remove one of them, or correct the path that was copied.',
        path: ['spec', 'properties', index, 'mqtt'],
      } satisfies Finding,
    ]
  })
}

/** Above this many devices of one model only equal topics are looked for, not overlapping wildcards. */
const MAX_COMPARED = 200

/** Topics that bring the values of two devices: both get them, and one of them is wrong. */
function lintShared(model: DeviceModelSpec, devices: readonly DeviceSpec[]): Finding[] {
  const filters: { readonly filter: string; readonly device: number; readonly broker: string }[] = []
  devices.forEach((device, index) => {
    if (addressOf(device) === undefined) return
    try {
      const config = compileDevice({ key: `namespace/device-${index}`, device, model, revision: '' })
      for (const { filter, points } of planRoutes(config)) {
        if (points.length > 0) filters.push({ filter, device: index, broker: config.broker.id })
      }
    } catch {
      // Told where the property is looked at.
    }
  })
  const findings: Finding[] = []
  const told = new Set<string>()
  const byFilter = new Map<string, number>()
  const share = (filter: string, a: number, b: number) => {
    if (a === b || told.has(filter)) return
    told.add(filter)
    findings.push({
      severity: 'warning',
      code: 'SLUICE_LINT_TOPIC_SHARED',
      message: `two devices of this model read ${filter}: both get every value`,
      hint: 'Put {base} or {device} into the topic and give each device its own.',
      path: ['spec', 'properties'],
    })
  }
  for (const { filter, device, broker } of filters) {
    const key = `${broker} ${filter}`
    const other = byFilter.get(key)
    if (other !== undefined) share(filter, other, device)
    byFilter.set(key, device)
  }
  if (devices.length > MAX_COMPARED) return findings
  const wild = filters.filter(({ filter }) => /[+#]/.test(filter))
  for (const one of wild) {
    for (const other of filters) {
      if (one.broker === other.broker && !/[+#]/.test(other.filter) && topicMatches(one.filter, other.filter)) {
        share(one.filter, one.device, other.device)
      }
    }
  }
  return findings
}
