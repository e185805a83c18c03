import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { embedded } from '../../agent/broker/test-brokers.test-helper.ts'
import type { DeviceModelSpec, Json } from '../../api/resources.ts'
import { loadManifests } from '../../api/yaml/load.ts'
import { explainBinding } from './explain.ts'
import { bind, MapperUnderTest } from './host.test-helper.ts'
import { lintMqtt } from './lint.ts'
import type { MqttAddress } from './schema.ts'

const catalogue = new URL('../../devicemodels/', import.meta.url)

/** A model with the fragments it uses, as whoever reads the file gets it. */
function modelOf(file: string): DeviceModelSpec {
  const textOf = (path: string) => readFileSync(new URL(path, catalogue), 'utf8')
  const fragmentOf = (name: string) => ({ file: name, text: textOf(`fragments/${name}.yaml`) })
  const [loaded] = loadManifests([{ file, text: textOf(file) }], { fragmentOf }).resources
  return loaded!.resource.spec as DeviceModelSpec
}

interface VectorFile {
  readonly address: { readonly mqtt?: MqttAddress }
  readonly vectors: readonly {
    readonly messages?: readonly { readonly topic: string; readonly payload: string }[]
    readonly values: Readonly<Record<string, Json>>
  }[]
}

interface Case {
  readonly name: string
  readonly model: DeviceModelSpec
  readonly file: VectorFile
}

/** Every model of the catalogue that comes with messages of its device. */
function* cases(): Generator<Case> {
  for (const path of readdirSync(catalogue, { recursive: true, encoding: 'utf8' })) {
    const match = /^([^/]+)\/vectors\/([^/]+)\.json$/.exec(path)
    if (match === null) continue
    const file = JSON.parse(readFileSync(new URL(path, catalogue), 'utf8')) as VectorFile
    if (file.address?.mqtt === undefined) continue
    const name = `${match[1]}/${match[2]}`
    yield { name, file, model: modelOf(`${name}.yaml`) }
  }
}

describe('the MQTT models of the catalogue', () => {
  it.each([...cases()].map((one) => [one.name, one] as const))(
    '%s gives its values through a real broker',
    async (_name, { model, file }) => {
      const binding = bind(model, file.address.mqtt)
      expect(lintMqtt(model, [binding.device]).filter(({ severity }) => severity === 'error')).toEqual([])
      expect(explainBinding(binding).requests.length).toBeGreaterThan(0)
      for (const { messages = [], values } of file.vectors) {
        await using broker = await embedded()
        await using mapper = new MapperUnderTest(broker.local)
        mapper.configure(binding)
        await mapper.reach.until(({ reason }) => reason?.includes('nothing was heard') === true)
        for (const { topic, payload } of messages) broker.local.publish(topic, Buffer.from(payload))
        for (const [property, value] of Object.entries(values)) {
          if (value !== null) expect(await mapper.value(property, value)).toMatchObject({ quality: 'good' })
        }
      }
    },
  )
})

describe('lint of an MQTT model', () => {
  it('names what cannot work and what will surprise', () => {
    const model: DeviceModelSpec = {
      properties: [
        { name: 'a', type: 'float', mqtt: { topic: 'x/{nobody}' } },
        { name: 'b', type: 'bool', access: 'readwrite', mqtt: { topic: 'fixed/b' } },
        { name: 'c', type: 'float', mqtt: { topic: 'fixed/b', as: 'number', path: 'x' } },
        { name: 'd', type: 'bool', mqtt: { topic: 'd', command: { topic: 'e', retain: true } } },
      ],
    }
    const codes = (devices: Parameters<typeof lintMqtt>[1]) => lintMqtt(model, devices).map(({ code }) => code)
    expect(codes([])).toEqual(
      expect.arrayContaining([
        'SLUICE_LINT_MQTT',
        'SLUICE_LINT_NO_COMMAND',
        'SLUICE_LINT_PATH_UNUSED',
        'SLUICE_LINT_UNUSED_COMMAND',
        'SLUICE_LINT_RETAINED_COMMAND',
      ]),
    )
  })

  it('warns where two devices read one topic', () => {
    const model: DeviceModelSpec = {
      properties: [{ name: 'a', type: 'float', poll: { staleAfter: '1h' }, mqtt: { topic: 'home/+/temperature' } }],
    }
    const device = bind(model).device
    expect(lintMqtt(model, [device, device])).toMatchObject([{ code: 'SLUICE_LINT_TOPIC_SHARED', severity: 'warning' }])
    expect(lintMqtt(model, [device])).toEqual([])
  })
})

describe("Home Assistant's discovery messages", () => {
  it('become a sighting with a model that serves the device as it is', async () => {
    await using broker = await embedded()
    const device = { ids: ['0x00124b'], name: 'Desk lamp', mf: 'IKEA', mdl: 'E1603' }
    const say = (topic: string, config: object) =>
      broker.local.publish(topic, Buffer.from(JSON.stringify(config)), { retain: true })
    say('homeassistant/switch/0x00124b/switch/config', {
      '~': 'zigbee2mqtt/desk',
      name: 'Switch',
      stat_t: '~',
      cmd_t: '~/set',
      val_tpl: '{{ value_json.state }}',
      avty_t: '~/availability',
      dev: device,
    })
    say('homeassistant/sensor/0x00124b/power/config', {
      name: 'Power',
      stat_t: 'zigbee2mqtt/desk',
      val_tpl: "{{ value_json['power'] | round(1) }}",
      unit_of_meas: 'W',
      dev: device,
    })
    say('homeassistant/sensor/0x00124b/odd/config', {
      name: 'Odd',
      stat_t: 'x',
      val_tpl: '{% if 1 %}1{% endif %}',
      dev: device,
    })
    broker.local.publish('homeassistant/sensor/x/y/config', Buffer.from('{'), { retain: true })
    await using mapper = new MapperUnderTest(broker.local)
    mapper.configure(bind({ properties: [] }))
    const sighting = await mapper.sightings.until(({ id }) => id === '0x00124b')
    expect(sighting).toMatchObject({ name: 'Desk lamp', candidates: [{ model: 'e1603' }], facts: { vendor: 'IKEA' } })
    const model = JSON.parse(sighting.facts['modelSpec']!) as DeviceModelSpec
    expect(lintMqtt(model, [bind(model).device]).filter(({ severity }) => severity === 'error')).toEqual([])
    await using served = new MapperUnderTest(broker.local)
    served.configure(bind(model))
    await served.reach.until(({ reason }) => reason?.includes('nothing was heard') === true)
    broker.local.publish('zigbee2mqtt/desk', Buffer.from('{"state":"ON","power":4.5}'))
    await served.value('Switch', true)
    await served.value('Power', 4.5)
  })
})
