import type { Clock } from '../../api/clock.ts'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { ModbusRequest, ModbusResponse } from './codec-types.ts'
import { asciiFraming, rtuFraming } from './line-framing.ts'
import { serialTiming } from './line-timing.ts'
import { preciseClock } from './precise-clock.ts'
import { LineSession } from './session-line.ts'
import { TcpSession } from './session-tcp.ts'
import { openSerialTransport } from './transport-serial.ts'
import { openTcpTransport } from './transport-tcp.ts'

export type { ModbusRequest, ModbusResponse } from './codec-types.ts'

/** USB adapters and converters break answers up by 20 ms and more; ASCII allows a second (section 2.5.2.1). */
const rtuGapMs = 50
const asciiGapMs = 1000
const gatewayGapMs = 200

/**
 * One wire to one or many Modbus units: a TCP connection or a serial line.
 *
 * It opens with the first request and keeps itself open: after a failure it tries again by itself, with jittered
 * back-off, and until it is back every request fails at once with `SLUICE_MODBUS_LINK_DOWN`.
 * It retries nothing else, knows no device and decodes no value. Requests go out in the order they were made.
 */
export interface ModbusSession extends AsyncDisposable {
  /**
   * One request to one unit (serial: 1 to 247, or 0 to broadcast a write; TCP: 0 to 255). Rejects with a SluiceError:
   * - `SLUICE_MODBUS_BOUNDS`: the request breaks the specification's limits; nothing was sent
   * - `SLUICE_MODBUS_TIMEOUT`: no answer in time
   * - `SLUICE_MODBUS_EXCEPTION`: the unit refused; the exception code is had with `exceptionOf(error)`
   * - `SLUICE_MODBUS_CRC`: the answer came damaged (serial framings only)
   * - `SLUICE_MODBUS_BAD_RESPONSE`: an answer that does not fit the request (TCP; on a line it is waited past),
   *   or two different ones at once (line)
   * - `SLUICE_MODBUS_LINK_DOWN`: not connected, or the connection was lost before the answer
   * - `SLUICE_MODBUS_BUSY`: too many requests wait already
   * - `SLUICE_MODBUS_CLOSED`: the session is disposed
   * or with the signal's reason when it aborts.
   */
  request(unit: number, request: ModbusRequest, options: RequestOptions): Promise<ModbusReply>
  readonly state: LinkState
  /** Calls `listener` at every change of `state`; returns the function that ends it. */
  onState(listener: (state: LinkState) => void): () => void
  /** A live view: read it, do not keep it. */
  readonly stats: SessionStats
  /** Closes the connection now where it is up; the next request opens it again. For "close after gather". */
  closeIdle(): void
}

export interface RequestOptions {
  /**
   * How long the unit may take, in milliseconds. It counts from the last byte of the request on the wire; the time the
   * answer itself needs on a serial line, and waiting for earlier requests, do not count.
   */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface ModbusReply {
  readonly response: ModbusResponse
  /** Serial: end of request to first byte of the answer. TCP: request written to answer read. Milliseconds. */
  readonly turnaroundMs: number
  /** Time the line was taken, request start to answer end, in milliseconds. On TCP the same as `turnaroundMs`. */
  readonly wireMs: number
}

/**
 * `idle`: not opened yet, or closed because nothing was asked; the next request opens it.
 * `down`: failed, for `reason`; being retried at `retryAtMs` (monotonic milliseconds).
 */
export interface LinkState {
  readonly phase: 'idle' | 'connecting' | 'up' | 'down' | 'closed'
  readonly reason?: SluiceError
  readonly retryAtMs?: number
}

export interface SessionStats {
  readonly requests: number
  readonly replies: number
  readonly exceptions: number
  readonly timeouts: number
  readonly crcErrors: number
  /** Answers that came after their request had timed out, and repeated ones; dropped. */
  readonly lateFramesDropped: number
  /** Well-formed frames of another unit, function or shape than the one asked; dropped. */
  readonly strayFrames: number
  /** Bytes that belonged to no frame. */
  readonly garbageBytes: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Time something was on its way, in milliseconds: its share of elapsed time is the use of the link. */
  readonly busyMs: number
  readonly connects: number
  /** Learnt turnaround a unit, milliseconds, moving average (weight 1/8). */
  readonly turnaroundMs: ReadonlyMap<number, number>
  /** Requests the link carries at once: 1 on a line, learnt on TCP. */
  readonly window: number
}

/** Wants and peculiarities every kind of link can have. */
export interface LinkOptions {
  /** Some devices need a while after a connection is made. Default 0. */
  readonly pauseAfterConnectMs?: number
  /** Least time between an answer and the next request. Default 0; on TCP more than 0 means one request at a time. */
  readonly pauseBetweenRequestsMs?: number
  /** Close when nothing was asked for so long; 0 (default) never. */
  readonly closeAfterIdleMs?: number
  /** First and longest wait before trying to connect again. Defaults 250 and 30 000. */
  readonly reconnectMinMs?: number
  readonly reconnectMaxMs?: number
  /** Requests that may wait for the wire. Default 4096. */
  readonly maxQueued?: number
}

/** What a half-duplex line (RTU and ASCII, on a serial port or through a TCP gateway) can be told. */
export interface LineOptions extends LinkOptions {
  /**
   * After a time-out nothing is sent until the late answer has come or this long has passed; see `session-line.ts` for
   * what that guarantees. It grows by itself, up to `quietMaxMs`, when answers are seen to come later. Defaults 200, 2000.
   */
  readonly quietMs?: number
  readonly quietMaxMs?: number
  /** `line` (default): a time-out keeps everybody quiet. `unit`: only the unit that did not answer. */
  readonly quietScope?: 'line' | 'unit'
  /** Longest pause inside one answer that is still taken for one answer. Defaults: RTU 50, ASCII 1000, through TCP 200 ms; never under t3.5. */
  readonly maxGapMs?: number
  /** The adapter hands back what we send. Default `auto`: noticed at the first read and then dropped. */
  readonly echo?: boolean | 'auto'
  /** Ask once more when the first request to a unit after opening is lost, as some do after power-up. Default false. */
  readonly retryFirstRequest?: boolean
  /** How long units get to act on a broadcast (serial line specification, section 2.4.1). Default 100 ms. */
  readonly broadcastDelayMs?: number
}

export interface TcpSessionOptions extends LineOptions {
  readonly host: string
  readonly port: number
  /** `tcp`: MBAP with transaction ids. `rtu`, `ascii`: serial frames through a transparent gateway, one at a time. */
  readonly framing: 'tcp' | 'rtu' | 'ascii'
  /** Most requests under way at once (framing `tcp`), 1 to 64; the session starts at 1 and learns. Default 16. */
  readonly maxWindow?: number
  /** Start with this window instead of 1. */
  readonly initialWindow?: number
  /** Default 5000. */
  readonly connectTimeoutMs?: number
  /**
   * Time-outs in a row after which the connection is taken for half-open and made anew; requests under way together
   * count as one. Default 3.
   */
  readonly reconnectAfterTimeouts?: number
  /** For gateways that answer every request with transaction id 0. One request at a time, reconnect after a time-out. */
  readonly transactionIdZero?: boolean
  /** For gateways that put their own unit number into every answer. */
  readonly anyUnit?: boolean
}

export interface SerialSessionOptions extends LineOptions {
  /** Prefer /dev/serial/by-id/...: the name survives replugging and reboot. */
  readonly path: string
  readonly baud: number
  readonly dataBits?: 7 | 8
  readonly parity?: 'none' | 'even' | 'odd'
  readonly stopBits?: 1 | 2
  readonly framing?: 'rtu' | 'ascii'
  /** Drive an RS-485 transceiver by RTS: raised (`up`) or lowered (`down`) while sending. Default `none`. */
  readonly rtsMode?: 'none' | 'up' | 'down'
  readonly rtsBeforeMs?: number
  readonly rtsAfterMs?: number
  /** Extra silence between an answer and the next request, beyond t3.5, for slow transceivers. Default 0. */
  readonly turnaroundMs?: number
}

export interface SessionDeps {
  readonly clock: Clock
  /** 0 to 1, for the jitter of reconnecting. Default Math.random. */
  readonly random?: () => number
}

/** The Modbus exception code (1 to 11) of a `SLUICE_MODBUS_EXCEPTION`, otherwise undefined. */
export function exceptionOf(error: unknown): number | undefined {
  if (!(error instanceof SluiceError) || error.code !== 'SLUICE_MODBUS_EXCEPTION') return undefined
  return 'exception' in error && typeof error.exception === 'number' ? error.exception : undefined
}

export function openTcpSession(options: TcpSessionOptions, deps: SessionDeps): ModbusSession {
  const { clock, random = Math.random } = deps
  const open = openTcpTransport(options, clock)
  if (options.framing === 'tcp') return new TcpSession(options, open, { clock, random })
  const framing = options.framing === 'rtu' ? rtuFraming : asciiFraming
  const silenceMs = options.pauseBetweenRequestsMs ?? 0
  const timing = { charMs: 0, judgeMs: 0, silenceMs, maxGapMs: options.maxGapMs ?? gatewayGapMs }
  const where = `${options.host}:${options.port}`
  return new LineSession({ where, open, framing, timing, options }, { clock, lineClock: clock, random })
}

export function openSerialSession(options: SerialSessionOptions, deps: SessionDeps): ModbusSession {
  const { clock, random = Math.random } = deps
  const framing = options.framing === 'ascii' ? asciiFraming : rtuFraming
  const maxGapMs = options.maxGapMs ?? (options.framing === 'ascii' ? asciiGapMs : rtuGapMs)
  const timing = serialTiming(options, { ...options, maxGapMs })
  const lineClock = clock === systemClock ? preciseClock : clock
  const open = openSerialTransport(options, clock)
  return new LineSession({ where: options.path, open, framing, timing, options }, { clock, lineClock, random })
}
