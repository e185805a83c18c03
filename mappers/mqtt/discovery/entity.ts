import type { Json, ModelProperty } from '../../../api/resources.ts'
import type { MqttProperty } from '../schema.ts'

/**
 * Home Assistant's MQTT discovery messages (its documentation, section "MQTT Discovery"): one retained JSON an entity,
 * under long names or their abbreviations, made into a property of a model.
 */
const ABBREVIATIONS: Readonly<Record<string, string>> = {
  avty: 'availability',
  avty_t: 'availability_topic',
  cmd_t: 'command_topic',
  cmps: 'components',
  dev: 'device',
  dev_cla: 'device_class',
  ids: 'identifiers',
  mdl: 'model',
  mf: 'manufacturer',
  obj_id: 'object_id',
  ops: 'options',
  p: 'platform',
  pl_avail: 'payload_available',
  pl_not_avail: 'payload_not_available',
  pl_off: 'payload_off',
  pl_on: 'payload_on',
  pl_prs: 'payload_press',
  stat_off: 'state_off',
  stat_on: 'state_on',
  stat_t: 'state_topic',
  stat_cla: 'state_class',
  sw: 'sw_version',
  uniq_id: 'unique_id',
  unit_of_meas: 'unit_of_measurement',
  val_tpl: 'value_template',
}

export type Config = Readonly<Record<string, Json>>

export const isRecord = (value: unknown): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Long names throughout, and `~` replaced by the base topic. */
export function expand(config: Record<string, Json>, base = textIn(config, '~')): Config {
  const entries = Object.entries(config).map(([key, value]): [string, Json] => {
    const name = Object.hasOwn(ABBREVIATIONS, key) ? ABBREVIATIONS[key]! : key
    if (isRecord(value)) return [name, expand(value, base)]
    if (typeof value === 'string' && base !== undefined && name.endsWith('topic')) {
      return [name, value.replace(/^~/, base).replace(/~$/, base)]
    }
    return [name, value]
  })
  return Object.fromEntries(entries)
}

export function textIn(config: Config, key: string): string | undefined {
  const value = Object.hasOwn(config, key) ? config[key] : undefined
  return typeof value === 'string' && value !== '' && value.length <= 512 ? value : undefined
}

const numberIn = (config: Config, key: string): number | undefined =>
  Object.hasOwn(config, key) && typeof config[key] === 'number' ? config[key] : undefined

/** Path of the simple templates that devices publish: `{{ value_json.a.b | round(1) }}`. */
export function pathOf(template: string | undefined): string | undefined {
  if (template === undefined || /^\{\{\s*value\s*(\|[^}|]*)*\}\}$/.test(template)) return ''
  const match = /^\{\{\s*value_json((?:\.\w+|\[\s*(?:'[^'\]]*'|"[^"\]]*"|\d+)\s*\])+)\s*(?:\|[^}|]*)*\}\}$/.exec(
    template,
  )
  if (match === null) return undefined
  const steps = [...match[1]!.matchAll(/\.(\w+)|\[\s*(?:'([^']*)'|"([^"]*)"|(\d+))\s*\]/g)].map(
    ([, dotted, single, double, index]) => dotted ?? single ?? double ?? index!,
  )
  return `/${steps.map((step) => step.replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}`
}

const COMPONENTS = ['sensor', 'binary_sensor', 'switch', 'light', 'number', 'select', 'text', 'button', 'lock', 'fan']

/** The property of an entity, or why it cannot be one. */
export function propertyOf(component: string, name: string, config: Config): ModelProperty | string {
  if (!COMPONENTS.includes(component)) return `${component} is not supported`
  const stateTopic = textIn(config, 'state_topic')
  const commandTopic = textIn(config, 'command_topic')
  if (stateTopic === undefined && commandTopic === undefined) return 'it has no topic'
  const path = pathOf(textIn(config, 'value_template'))
  if (path === undefined) return 'its value_template is more than a path'
  const kind = kindOf(component, config)
  const binding: MqttProperty = {
    ...(stateTopic === undefined ? {} : { topic: stateTopic, as: path === '' ? 'text' : 'json' }),
    ...(stateTopic === undefined || path === '' ? {} : { path, missing: 'ignore' }),
    ...(kind.map === undefined ? {} : { map: kind.map }),
    ...(commandTopic === undefined
      ? {}
      : { command: { topic: commandTopic, ...(kind.words === undefined ? {} : { map: kind.words }) } }),
  }
  const unit = textIn(config, 'unit_of_measurement')
  const [min, max] = [numberIn(config, 'min'), numberIn(config, 'max')]
  return {
    name,
    type: kind.type,
    ...(unit === undefined || unit.length > 32 ? {} : { unit }),
    ...(commandTopic === undefined ? {} : { access: stateTopic === undefined ? 'write' : 'readwrite' }),
    ...(kind.values === undefined ? {} : { enum: kind.values }),
    ...(kind.type !== 'float' || min === undefined ? {} : { min }),
    ...(kind.type !== 'float' || max === undefined ? {} : { max }),
    ...(textIn(config, 'device_class') === 'battery' ? { role: 'battery' } : {}),
    poll: { staleAfter: '1d' },
    mqtt: binding,
  }
}

interface Kind {
  readonly type: ModelProperty['type']
  readonly map?: Readonly<Record<string, Json>>
  readonly words?: Readonly<Record<string, Json>>
  readonly values?: Json[]
}

function kindOf(component: string, config: Config): Kind {
  const word = (key: string, fallback: string) => textIn(config, key) ?? fallback
  switch (component) {
    case 'binary_sensor':
      return { type: 'bool', map: { [word('payload_on', 'ON')]: true, [word('payload_off', 'OFF')]: false } }
    case 'switch':
    case 'light':
    case 'fan': {
      const [on, off] = [word('payload_on', 'ON'), word('payload_off', 'OFF')]
      const map = { [word('state_on', on)]: true, [word('state_off', off)]: false }
      return { type: 'bool', map, words: { true: on, false: off } }
    }
    case 'lock': {
      const map = { [word('state_locked', 'LOCKED')]: true, [word('state_unlocked', 'UNLOCKED')]: false }
      return {
        type: 'bool',
        map,
        words: { true: word('payload_lock', 'LOCK'), false: word('payload_unlock', 'UNLOCK') },
      }
    }
    case 'number':
      return { type: 'float' }
    case 'button':
      return { type: 'bool', words: { true: word('payload_press', 'PRESS') } }
    case 'select': {
      const options = config['options']
      const values = Array.isArray(options) ? options.filter((one) => typeof one === 'string').slice(0, 256) : []
      return values.length === 0 ? { type: 'string' } : { type: 'string', values }
    }
    case 'sensor': {
      const numeric = config['unit_of_measurement'] !== undefined || config['state_class'] !== undefined
      return { type: numeric ? 'float' : 'string' }
    }
    default:
      return { type: 'string' }
  }
}
