import ModbusRTU from 'modbus-serial'
import { delay, systemClock } from '../api/clock.ts'
import type { LineFaults } from '../hil/line-faults.ts'
import { testBus } from '../hil/modbus-bus.ts'
import { RtuUnits, registerValue } from '../hil/modbus-unit.ts'
import { openPtyPair } from '../hil/pty.ts'
import { seededRandom } from '../hil/random.ts'
import { type ModbusSession, openSerialSession, openTcpSession } from '../mappers/modbus/session.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'modbus-wrong-values'
const everything: LineFaults = {
  lose: 0.02,
  drop: 0.02,
  flip: 0.02,
  duplicate: 0.02,
  delay: 0.05,
  delayMs: 150,
  split: 0.03,
  garbage: 0.03,
}

interface Tally {
  reads: number
  wrong: number
  failed: number
}

/** Reads two registers of a random unit at a random address; resolves with their values. */
type Read = (unit: number, address: number) => Promise<readonly number[]>

/**
 * Every register holds a value that tells its unit and address, so an answer handed to the wrong request shows.
 * On the line 100 000 reads in virtual time; then a few hundred on a real pseudo-terminal beside modbus-serial, and
 * thousands over TCP, in real time.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const line: Tally = { reads: 0, wrong: 0, failed: 0 }
  for (let seed = 1; seed <= 10; seed++) {
    const bus = testBus({ faults: { 0: { flip: 0.005, lose: 0.005 }, 1: everything }, seed })
    await bus.run(poll(readWith(bus.session, 100), 10_000, seed, line))
    await bus.session[Symbol.asyncDispose]()
  }
  const reads = quick ? 300 : 1500
  const ours = await overPty(reads, async (path) => {
    const session = openSerialSession({ path, baud: 115_200 }, { clock: systemClock })
    return { read: readWith(session, lateTimeoutMs), close: async () => session[Symbol.asyncDispose]() }
  })
  const peer = await overPty(reads, serialLibrary)
  const tcp = await overTcp(quick ? 2000 : 20_000)
  return [
    wrong('on an RTU line with every fault, virtual time', line),
    { ...wrong('on a real pseudo-terminal with late answers', ours), peer: `modbus-serial: ${peer.wrong} wrong` },
    { bench, figure: `modbus-serial there, of ${peer.reads} reads`, value: peer.wrong, unit: 'wrong values', ok: true },
    wrong('over TCP with late, repeated, split and missing answers', tcp),
  ]
}

function wrong(where: string, tally: Tally): Figure {
  const figure = `${where}: ${tally.reads} reads, ${tally.failed} failed`
  return {
    bench,
    figure,
    value: tally.wrong,
    unit: 'wrong values',
    budget: '0',
    ok: tally.wrong === 0 && tally.failed < tally.reads / 2,
  }
}

async function poll(read: Read, count: number, seed: number, tally: Tally): Promise<void> {
  const random = seededRandom(seed)
  for (let i = 0; i < count; i++) {
    const unit = 1 + Math.floor(random() * 3)
    const address = Math.floor(random() * 60_000)
    tally.reads++
    const values = await read(unit, address).catch(() => undefined)
    if (values === undefined) tally.failed++
    else if (values[0] !== registerValue(unit, address) || values[1] !== registerValue(unit, address + 1)) tally.wrong++
  }
}

function readWith(session: ModbusSession, timeoutMs: number): Read {
  return async (unit, address) => {
    const { response } = await session.request(unit, { fc: 3, address, count: 2 }, { timeoutMs })
    if (response.fc !== 3) throw new Error('not a read')
    const bytes = Buffer.from(response.registers)
    return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)]
  }
}

const lateTimeoutMs = 40
/** Every fifth answer comes 10 to 50 ms after the time-out. */
async function overPty(
  count: number,
  open: (path: string) => Promise<{ read: Read; close(): Promise<unknown> }>,
): Promise<Tally> {
  await using pty = openPtyPair()
  const units = new RtuUnits([1, 2, 3])
  const random = seededRandom(9)
  pty.onData((chunk) => {
    for (const answer of units.push(chunk)) {
      const laterMs = units.requests % 5 === 0 ? lateTimeoutMs + 10 + 40 * random() : 1
      setTimeout(() => pty.write(answer), laterMs)
    }
  })
  const tally: Tally = { reads: 0, wrong: 0, failed: 0 }
  const client = await open(pty.path)
  await poll(client.read, count, 21, tally)
  await client.close()
  return tally
}

async function serialLibrary(path: string): Promise<{ read: Read; close(): Promise<unknown> }> {
  const client = new ModbusRTU.default()
  await client.connectRTUBuffered(path, { baudRate: 115_200 })
  client.setTimeout(lateTimeoutMs)
  const read: Read = async (unit, address) => {
    client.setID(unit)
    return (await client.readHoldingRegisters(address, 2)).data
  }
  return { read, close: () => new Promise<void>((resolve) => client.close(() => resolve())) }
}

async function overTcp(count: number): Promise<Tally> {
  await using server = await startFarSide(new URL('./far-side/tcp-faulty.ts', import.meta.url))
  const options = { host: '127.0.0.1', port: Number(server.ready['port']), framing: 'tcp' } as const
  await using session = openTcpSession(options, { clock: systemClock })
  const tally: Tally = { reads: 0, wrong: 0, failed: 0 }
  const read: Read = async (unit, address) => {
    // A link that is down refuses at once; asking on would count one fault many times over.
    while (session.state.phase === 'down' || session.state.reason !== undefined) await delay(systemClock, 10)
    return readWith(session, 50)(unit, address)
  }
  const pollers = Array.from({ length: 16 }, (_, i) => poll(read, count / 16, 100 + i, tally))
  await Promise.all(pollers)
  return tally
}
