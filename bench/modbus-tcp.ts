import { once } from 'node:events'
import { connect, Socket } from 'node:net'
import jsmodbus from 'jsmodbus'
import ModbusRTU from 'modbus-serial'
import { systemClock } from '../api/clock.ts'
import { openTcpSession } from '../mappers/modbus/session.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'
import { percentile } from './harness.ts'

const bench = 'modbus-tcp'
const registers = 10
const window = 16

/** Answers a second of one client over `durationMs`. */
type Client = (port: number, durationMs: number) => Promise<number>

/**
 * Reads of ten registers on loopback, sixteen under way, all clients against one server process, in turn and several
 * times over; the median counts. The bare socket checks nothing but lengths: it is the most a client in Node can do.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  await using server = await startFarSide(new URL('./far-side/tcp-server.ts', import.meta.url))
  const port = Number(server.ready['port'])
  const durationMs = quick ? 600 : 2000
  const rounds = quick ? 5 : 9
  const clients: Record<string, Client> = { bare, ours, learnt, serial, js }
  const rates: Record<string, number[]> = {}
  for (const client of Object.values(clients)) await client(port, 400)
  for (let round = 0; round < rounds; round++) {
    for (const [name, client] of Object.entries(clients)) (rates[name] ??= []).push(await client(port, durationMs))
  }
  const median = (name: string) => percentile(rates[name] ?? [], 0.5)
  const figure = (name: string, text: string) => ({ bench, figure: text, value: median(name), unit: 'reads/s' })
  const beside = (own: string, peer: string, text: string, least: number): Figure => {
    // Each round against the same round: what else the machine does in between strikes both.
    const ratio = percentile(
      (rates[own] ?? []).map((rate, i) => rate / (rates[peer]?.[i] ?? Number.NaN)),
      0.5,
    )
    return {
      ...figure(own, `session, window ${window}, beside ${text}`),
      peer: text,
      ratio,
      budget: `>= ${least} of peer`,
      ok: ratio >= least,
    }
  }
  return [
    { ...figure('bare', `bare pipelined socket, window ${window}`), ok: true },
    { ...figure('serial', 'modbus-serial, 16 callers'), ok: true },
    { ...figure('js', 'jsmodbus, 16 callers'), ok: true },
    beside('ours', 'bare', 'bare socket', 0.8),
    {
      ...beside('learnt', 'bare', 'bare socket', 0),
      figure: 'session that starts at window 1 and learns',
      budget: 'none',
    },
    beside('ours', 'serial', 'modbus-serial', 1),
    beside('ours', 'js', 'jsmodbus', 3),
  ]
}

async function bare(port: number, durationMs: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const answerLength = 9 + 2 * registers
  let id = 0
  const ask = (count: number) => {
    const out = Buffer.alloc(12 * count)
    for (let i = 0; i < count; i++) {
      id = (id + 1) & 0xffff
      out.set([id >> 8, id & 255, 0, 0, 0, 6, 1, 3, 0, 0, 0, registers], 12 * i)
    }
    socket.write(out)
  }
  let bytes = 0
  let answered = 0
  socket.on('data', (chunk) => {
    bytes += chunk.length
    const whole = Math.floor(bytes / answerLength)
    if (whole === answered) return
    ask(whole - answered)
    answered = whole
  })
  const start = performance.now()
  ask(window)
  await new Promise((resolve) => setTimeout(resolve, durationMs))
  const rate = (answered * 1000) / (performance.now() - start)
  socket.destroy()
  return rate
}

/** `callers` loops that each wait for their answer before they ask again. */
async function keepAsking(durationMs: number, callers: number, ask: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  let answered = 0
  let going = true
  const loop = async () => {
    while (going) {
      await ask()
      answered++
    }
  }
  const loops = Array.from({ length: callers }, loop)
  await new Promise((resolve) => setTimeout(resolve, durationMs))
  const rate = (answered * 1000) / (performance.now() - start)
  going = false
  await Promise.all(loops)
  return rate
}

async function session(port: number, durationMs: number, initialWindow: number): Promise<number> {
  const options = { host: '127.0.0.1', port, framing: 'tcp', maxWindow: window, initialWindow } as const
  await using own = openTcpSession(options, { clock: systemClock })
  const request = { fc: 3, address: 0, count: registers } as const
  const patience = { timeoutMs: 1000 }
  return await keepAsking(durationMs, window, () => own.request(1, request, patience))
}

const ours: Client = (port, durationMs) => session(port, durationMs, window)
const learnt: Client = (port, durationMs) => session(port, durationMs, 1)

async function serial(port: number, durationMs: number): Promise<number> {
  const client = new ModbusRTU.default()
  await client.connectTCP('127.0.0.1', { port })
  client.setID(1)
  const rate = await keepAsking(durationMs, window, () => client.readHoldingRegisters(0, registers))
  await new Promise<void>((resolve) => client.close(() => resolve()))
  return rate
}

async function js(port: number, durationMs: number): Promise<number> {
  const socket = new Socket()
  const client = new jsmodbus.client.TCP(socket, 1, 1000)
  socket.setNoDelay(true)
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const rate = await keepAsking(durationMs, window, () => client.readHoldingRegisters(0, registers))
  socket.destroy()
  return rate
}
