import { isIPv4 } from 'node:net'
import type { Json } from '../../../api/resources.ts'
import type { Sighting } from '../../../mappers/sdk/mapper.ts'

/** A service as somebody on the network announces it; nothing in it is to be believed more than that. */
export interface Announced {
  /** Without underscore: `modbus`. */
  readonly type: string
  readonly name: string
  readonly host: string
  readonly port: number
  readonly addresses: readonly string[]
  /** Who sent the announcement. */
  readonly from: string | undefined
  readonly txt: Readonly<Record<string, string>>
}

export interface NetworkSighting {
  readonly protocol: string
  readonly sighting: Sighting
}

interface Reading {
  readonly protocol: string
  readonly id: string
  readonly address: { readonly [key: string]: Json }
  readonly candidates?: Sighting['candidates']
  /** What a person does next. */
  readonly next: string
  readonly facts?: Readonly<Record<string, string>>
}

/** TXT keys that are worth showing (RFC 6763, section 6), as the vendors write them. */
const FACTS: Readonly<Record<string, string>> = {
  mac: 'mac',
  id: 'id',
  app: 'app',
  gen: 'generation',
  ver: 'firmware',
  fw_id: 'firmware',
  version: 'firmware',
  platform: 'platform',
  board: 'board',
  project_name: 'project',
  friendly_name: 'name',
  manufacturer: 'vendor',
  vendor: 'vendor',
  model: 'model',
  serial: 'serial',
}
const MAX_TEXT = 128

/** By service type, how to tell what it is; the keys are what is asked for on the network. */
const READERS: Readonly<Record<string, (service: Announced, ip: string) => Reading | undefined>> = {
  modbus: modbusServer,
  mbap: modbusServer,
  mqtt: mqttBroker,
  'secure-mqtt': mqttBroker,
  shelly: ({ name, txt }, ip) => shelly(name, ip, txt),
  // First-generation Shellys and Tasmota announce their web page only.
  http: ({ name, txt }, ip) =>
    /^shelly/i.test(name) ? shelly(name, ip, txt) : /^tasmota/i.test(name) ? tasmota(name, ip) : undefined,
  esphomelib: ({ name, txt }, ip) => ({
    protocol: 'mqtt',
    id: plain(name),
    address: { base: plain(name) },
    facts: { vendor: 'ESPHome' },
    next: `add 'mqtt: broker: <this gateway>' to the YAML of ${plain(name)} (${ip}), and 'discovery: true' for its model${
      txt['api_encryption'] === undefined ? '' : '; its native API is encrypted and stays so'
    }`,
  }),
}

/** Service types that are asked for. */
export const SERVICE_TYPES: readonly string[] = Object.keys(READERS)

/** What an announcement says about a device that can be reached; undefined where it is none of ours. */
export function sightingOf(service: Announced, atMs: number): NetworkSighting | undefined {
  const read = Object.hasOwn(READERS, service.type) ? READERS[service.type] : undefined
  const ip = addressOf(service)
  if (read === undefined || ip === undefined || service.port < 1 || service.port > 65_535) return undefined
  const reading = read(service, ip)
  if (reading === undefined || reading.id === '') return undefined
  const { protocol, id, address, candidates = [], next, facts = {} } = reading
  const name = plain(service.name)
  return {
    protocol,
    sighting: {
      id,
      address,
      ...(name === '' ? {} : { name }),
      candidates,
      facts: {
        ...factsOf(service.txt),
        ...facts,
        announced: `_${service.type}._tcp`,
        host: `${plain(service.host)} (${ip}:${service.port})`,
        next,
      },
      atMs,
    },
  }
}

function modbusServer({ port }: Announced, ip: string): Reading {
  return {
    protocol: 'modbus',
    // As the scan names the same unit, so that both are one discovery.
    id: `${ip}:${port}:1`,
    address: { tcp: { host: ip, ...(port === 502 ? {} : { port }) }, unit: 1 },
    next: `sluice discover modbus --host ${ip}${port === 502 ? '' : `:${port}`} --units 1,255`,
  }
}

function mqttBroker({ type, port }: Announced, ip: string): Reading {
  const url = `${type === 'mqtt' ? 'mqtt' : 'mqtts'}://${ip}:${port}`
  return {
    protocol: 'mqtt-broker',
    id: `${ip}:${port}`,
    address: { broker: url },
    next: `use it in place of the own broker: sluice agent --mqtt-broker ${url}; or for one device: mqtt: {broker: ${url}}`,
  }
}

/**
 * Names of the products in host names and in the TXT key `app` (Shelly, Gen1 and Gen2+ API references), squeezed, and the
 * models of the catalogue. A test holds them against the catalogue.
 */
export const SHELLY_MODELS: Readonly<Record<string, string>> = {
  shelly1pm: 'shelly-1pm',
  shellyem3: 'shelly-3em',
  shellydw2: 'shelly-door-window-2',
  shellyht: 'shelly-ht',
  shellyplugs: 'shelly-plug-s',
  shellyplus1pm: 'shelly-plus-1pm',
  shellyplusht: 'shelly-plus-ht',
  shellypro3em: 'shelly-pro-3em',
}

function shelly(name: string, ip: string, txt: Announced['txt']): Reading {
  const id = plain(name).replaceAll(/\s/g, '')
  // `shellyplus1pm-441793d69718`: the product, and the last bytes of its MAC address.
  const product = id.replace(/-[0-9a-f]{6,12}$/i, '')
  const squeezed = product.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
  const generation = Number(txt['gen'] ?? (/^shelly(plus|pro|mini|gen|blu|wall)/.test(squeezed) ? 2 : 1))
  const known = Object.hasOwn(SHELLY_MODELS, squeezed) ? SHELLY_MODELS[squeezed] : undefined
  const menu = generation >= 2 ? 'Settings, MQTT' : 'Internet & Security, Advanced, MQTT'
  return {
    protocol: 'mqtt',
    id,
    address: { base: generation >= 2 ? id : `shellies/${id}` },
    candidates:
      known === undefined ? [] : [{ model: known, score: 0.9, why: `it calls itself ${product.slice(0, MAX_TEXT)}` }],
    facts: { vendor: 'Shelly', generation: `${generation}` },
    next: `switch MQTT on at http://${ip} (${menu}) with this gateway as the server; then approve it`,
  }
}

function tasmota(name: string, ip: string): Reading {
  const id = plain(name)
  return {
    protocol: 'mqtt',
    id,
    address: { device: id.replaceAll(/[\s/+#]/g, '_') },
    candidates: [
      { model: 'tasmota-plug', score: 0.2, why: `it calls itself ${id.slice(0, MAX_TEXT)}; look what it is` },
    ],
    facts: { vendor: 'Tasmota' },
    next: `set the MQTT host at http://${ip} to this gateway; its topic is what stands under mqtt.device`,
  }
}

/** The address to reach it by: what it announces, or where the announcement came from, which on loopback is all there is. */
function addressOf({ addresses, from }: Announced): string | undefined {
  const sender = from !== undefined && isIPv4(from) ? from : undefined
  if (sender !== undefined && addresses.includes(sender)) return sender
  const announced = addresses.find(
    // Nobody announces to others that it is reached inside itself, or by no address at all.
    (one) => isIPv4(one) && !/^(127\.|0\.|169\.254\.|22[4-9]\.|2[3-5]\d\.)/.test(one),
  )
  return announced ?? sender
}

function factsOf(txt: Announced['txt']): Record<string, string> {
  const facts: Record<string, string> = {}
  for (const [key, value] of Object.entries(txt)) {
    const fact = Object.hasOwn(FACTS, key.toLowerCase()) ? FACTS[key.toLowerCase()] : undefined
    const text = plain(value)
    if (fact !== undefined && text !== '') facts[fact] ??= text
  }
  return facts
}

/** What is shown to people: one line, without control characters and marks that turn the direction of writing. */
const plain = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ')
    .trim()
    .slice(0, MAX_TEXT)
