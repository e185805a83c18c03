import { createRequire } from 'node:module'
import type library from 'lora-packet'
import { systemClock } from '../api/clock.ts'
import { LoraDevice } from '../hil/lora-device.ts'
import { LoraForwarder } from '../hil/lora-forwarder.ts'
import { cryptPayload, dataMic, parseFrame } from '../mappers/lora/codec.ts'
import { keyFromHex, LoraKey } from '../mappers/lora/keys.ts'
import { createMapper } from '../mappers/lora/mapper.ts'
import { openNetwork } from '../mappers/lora/open-network.ts'
import type { NetworkServer } from '../mappers/lora/server/network-server.ts'
import type { UdpBackend } from '../mappers/lora/server/udp-backend.ts'
import type { DeviceBinding, GatewayHost, MapperStorage } from '../mappers/sdk/mapper.ts'
import { type Bench, type Figure, percentile, residentMiB, significant } from './harness.ts'

const DEVICES = 1000
const GATEWAY = 'AA555A0000000101'
const KEYS = { nwkSKey: '44024241ED4CE9A68C6A8BC055233FD3', appSKey: 'EC925802AE430CA77FD3DD73CB2CC588' }
const PAYLOAD = Buffer.from('0929003c000102030405060708090a0b0c0d0e0f', 'hex')

/**
 * LoRaWAN uplinks: the codec against lora-packet, and the whole way from a datagram to a reading for 1 000 devices.
 * Rates are per second of processor time, so of one core.
 */
export const run: Bench = async ({ quick }) => [...codec(quick), ...(await gateway(quick))]

function codec(quick: boolean): Figure[] {
  const oracle: typeof library.default = createRequire(import.meta.url)('lora-packet')
  const nwk = Buffer.from(KEYS.nwkSKey, 'hex')
  const app = Buffer.from(KEYS.appSKey, 'hex')
  const keys = { nwkSKey: new LoraKey(nwk), appSKey: new LoraKey(app) }
  const device = new LoraDevice({ devEui: '0'.repeat(16), appKey: keys.nwkSKey })
  device.personalise(0x2601_1bda, keys)
  const frames = Array.from({ length: 1000 }, () => device.uplink(2, PAYLOAD))
  const ours = (phy: Buffer): boolean => {
    const frame = parseFrame(phy)
    if (frame.kind !== 'data' || dataMic(keys.nwkSKey, phy, true, frame.devAddr, frame.fCnt16) !== frame.mic)
      return false
    return cryptPayload(keys.appSKey, frame.payload, true, frame.devAddr, frame.fCnt16).length === PAYLOAD.length
  }
  const theirs = (phy: Buffer): boolean => {
    const packet = oracle.fromWire(phy)
    return oracle.verifyMIC(packet, nwk) && oracle.decrypt(packet, app, nwk).length === PAYLOAD.length
  }
  const seconds = quick ? 1 : 3
  // In turns, so that whatever else the machine does hits both alike.
  const rates = { ours: [] as number[], theirs: [] as number[] }
  for (let turn = 0; turn < 3; turn++) {
    rates.ours.push(rateOf(ours, frames, seconds / 3))
    rates.theirs.push(rateOf(theirs, frames, seconds / 3))
  }
  const rate = percentile(rates.ours, 0.5)
  const peer = percentile(rates.theirs, 0.5)
  return [
    {
      bench: 'lora',
      figure: 'uplinks of 20 bytes parsed, MIC-checked and decrypted',
      value: significant(rate),
      unit: '1/s',
      peer: `lora-packet ${significant(peer)}/s`,
      ratio: significant(rate / peer),
      budget: '>= 20000/s',
      ok: rate >= 20_000,
    },
  ]
}

function rateOf(check: (phy: Buffer) => boolean, frames: readonly Buffer[], seconds: number): number {
  const end = performance.now() + seconds * 1000
  const start = processorMs()
  let count = 0
  while (performance.now() < end) {
    for (const phy of frames) if (!check(phy)) throw new Error('a frame was refused')
    count += frames.length
  }
  return (count * 1000) / (processorMs() - start)
}

/** Processor time of this process, milliseconds: what else the machine does must not count as our slowness. */
function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const hex = (index: number, digits: number): string => index.toString(16).toUpperCase().padStart(digits, '0')

const bindingOf = (index: number): DeviceBinding => ({
  key: `bench/d${index}`,
  revision: '1',
  device: {
    model: 'm',
    poll: { every: '10m' },
    lora: { devEui: hex(index + 1, 16), devAddr: hex(index + 1, 8), ...KEYS, server: 'local', listen: { udp: 0 } },
  },
  model,
})

const model: DeviceBinding['model'] = {
  properties: [
    { name: 'temperature', type: 'float', lora: { port: 2, at: 0, as: 'int16', scale: 0.01 } },
    { name: 'interval', type: 'int', lora: { port: 2, at: 2, as: 'uint16' } },
  ],
  lora: { statusEvery: '0s', adr: false },
}

class MemoryStorage implements MapperStorage {
  readonly #values = new Map<string, string>()
  get(key: string): string | undefined {
    return this.#values.get(key)
  }
  keys(prefix: string): readonly string[] {
    return [...this.#values.keys()].filter((key) => key.startsWith(prefix))
  }
  put(entries: Readonly<Record<string, string | undefined>>): void {
    for (const [key, value] of Object.entries(entries)) if (value !== undefined) this.#values.set(key, value)
  }
}

/** A gateway's network server with all its devices, fed with datagrams. */
async function gateway(quick: boolean): Promise<Figure[]> {
  let read = 0
  let server: NetworkServer | undefined
  const host: GatewayHost = {
    clock: systemClock,
    random: Math.random,
    storage: new MemoryStorage(),
    broker: () => Promise.reject(new Error('no broker')),
    sighted: () => {},
    reachability: () => {},
    event: () => {},
    writeNews: () => {},
    log: () => {},
    readings: (batch) => {
      read += batch.length
    },
  }
  const ready = Promise.withResolvers<void>()
  const mapper = createMapper(host, async (...args) => {
    const opened = await openNetwork(...args)
    server = opened.network as NetworkServer
    void opened.ready.then(ready.resolve)
    return opened
  })
  await using _ = mapper
  mapper.configure(Array.from({ length: DEVICES }, (_value, index) => bindingOf(index)))
  await ready.promise
  const [backend] = server!.backends
  const { port } = await backend!.listening
  await using forwarder = await LoraForwarder.open(GATEWAY, port)
  const keys = { nwkSKey: keyFromHex(KEYS.nwkSKey)!, appSKey: keyFromHex(KEYS.appSKey)! }
  const devices = Array.from({ length: DEVICES }, (_value, index) => {
    const device = new LoraDevice({ devEui: hex(index + 1, 16), appKey: keys.nwkSKey })
    device.personalise(index + 1, keys)
    return device
  })
  const udp = backend as UdpBackend
  // The first round is not counted: every device's keys are prepared once, and the code is compiled.
  const feed = async (rounds: number): Promise<number> => {
    const datagrams: Buffer[] = []
    for (let round = 0; round < rounds; round++) {
      for (const device of devices) datagrams.push(pushData(device.uplink(2, PAYLOAD)))
    }
    const wanted = read + 2 * datagrams.length
    const start = processorMs()
    for (let index = 0; index < datagrams.length; index++) {
      // Nobody at port 0 to acknowledge to: what the kernel takes is seen in the latency below.
      udp.receive(datagrams[index]!, { address: '127.0.0.1', port: 0 })
      if (index % 500 === 499) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    while (read < wanted) await new Promise((resolve) => setTimeout(resolve, 1))
    return (datagrams.length * 1000) / (processorMs() - start)
  }
  await feed(quick ? 3 : 5)
  const rates: number[] = []
  for (let turn = 0; turn < (quick ? 3 : 5); turn++) rates.push(await feed(10))
  const rate = percentile(rates, 0.5)

  const before = read
  const sample = Array.from({ length: quick ? 500 : 2000 }, (_value, index) =>
    devices[index % DEVICES]!.uplink(2, PAYLOAD),
  )
  const latencies: number[] = []
  for (const phy of sample) {
    const sentMs = performance.now()
    await forwarder.hear(phy)
    while (read < before + 2 * (latencies.length + 1)) await new Promise((resolve) => setImmediate(resolve))
    latencies.push(performance.now() - sentMs)
  }
  return [
    {
      bench: 'lora',
      figure: `datagrams to readings, ${DEVICES} devices on one gateway`,
      value: significant(rate),
      unit: '1/s',
      budget: '>= 20000/s',
      ok: rate >= 20_000,
    },
    {
      bench: 'lora',
      figure: 'uplink over real UDP to its reading, p99',
      value: significant(percentile(latencies, 0.99)),
      unit: 'ms',
      ok: true,
    },
    {
      bench: 'lora',
      figure: `memory of the bench with ${DEVICES} devices`,
      value: significant(await residentMiB(process.pid)),
      unit: 'MiB',
      ok: true,
    },
  ]
}

function pushData(phy: Buffer): Buffer {
  const rxpk = [
    {
      tmst: 1,
      freq: 868.1,
      stat: 1,
      modu: 'LORA',
      datr: 'SF7BW125',
      codr: '4/5',
      lsnr: 9,
      rssi: -60,
      size: phy.length,
      data: phy.toString('base64'),
    },
  ]
  const head = Buffer.concat([Buffer.from([2, 0, 1, 0]), Buffer.from(GATEWAY, 'hex')])
  return Buffer.concat([head, Buffer.from(JSON.stringify({ rxpk }))])
}
