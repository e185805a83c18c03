import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { request } from 'node:https'
import * as x509 from '@peculiar/x509'
import { WebSocket } from 'ws'
import { SluiceError } from '../../api/errors.ts'
import type { JoinAnswer } from '../../api/link/join.ts'
import type { MachineFacts } from '../../api/link/machine.ts'
import {
  type AckFrame,
  type AgentFrame,
  type BatchBody,
  type HubFrame,
  LINK_PATH,
  LINK_SUBPROTOCOL,
  type LinkObject,
  type ObjectsFrame,
} from '../../api/link/messages.ts'

/** An agent for tests and benchmarks: it speaks the link by hand, and also wrongly when asked to. */

export interface AgentIdentity {
  readonly gateway: string
  readonly certPem: string
  readonly keyPem: string
  readonly caPem: string
  readonly hubUrl: string
}

export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

export function httpsCall(
  url: string,
  options: {
    readonly method?: string
    readonly caPem: string
    readonly body?: unknown
    readonly headers?: Readonly<Record<string, string>>
    readonly certPem?: string
    readonly keyPem?: string
  },
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const text = options.body === undefined ? undefined : JSON.stringify(options.body)
    const call = request(
      url,
      {
        method: options.method ?? 'GET',
        ca: options.caPem,
        agent: false,
        ...(options.certPem === undefined ? {} : { cert: options.certPem, key: options.keyPem }),
        headers: { ...options.headers, ...(text === undefined ? {} : { 'content-length': Buffer.byteLength(text) }) },
      },
      (answer) => {
        let body = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => {
          body += chunk
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }))
        answer.on('error', reject)
      },
    )
    call.on('error', reject)
    call.end(text)
  })
}

export async function newRequest(): Promise<{ csrPem: string; keyPem: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=gateway',
    keys,
    signingAlgorithm: algorithm,
  })
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return {
    csrPem: csr.toString('pem'),
    keyPem: `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)!.join('\n')}\n-----END PRIVATE KEY-----\n`,
  }
}

export async function joinAs(gateway: string, token: string, hubUrl: string, caPem: string): Promise<AgentIdentity> {
  const { csrPem, keyPem } = await newRequest()
  const answer = await httpsCall(`${hubUrl}/join`, { method: 'POST', caPem, body: { token, csrPem } })
  if (answer.status !== 200) throw new Error(`join was answered with ${answer.status}: ${answer.body}`)
  const joined = JSON.parse(answer.body) as JoinAnswer
  return { gateway, certPem: joined.certPem, keyPem, caPem: joined.caPem, hubUrl: joined.hubUrl }
}

type Waiter = { readonly wants: (frame: HubFrame) => boolean; readonly resolve: (frame: HubFrame) => void }

export class ScriptedAgent implements Disposable {
  readonly identity: AgentIdentity
  readonly epoch: string
  readonly frames: HubFrame[] = []
  /** What it holds, by `kind key`. */
  readonly objects = new Map<string, LinkObject>()
  /** When an object arrived, by `kind key`, monotonic. */
  readonly arrivals = new Map<string, number>()
  seq = 0
  acknowledge = true
  closed: Promise<{ code: number; reason: string }>
  readonly #ws: WebSocket
  readonly #waiters = new Set<Waiter>()
  onFrame: ((frame: HubFrame) => void) | undefined

  private constructor(identity: AgentIdentity, epoch: string, ws: WebSocket) {
    this.identity = identity
    this.epoch = epoch
    this.#ws = ws
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    ws.on('error', () => {})
    ws.on('message', (data) => this.#receive(JSON.parse(data.toString()) as HubFrame))
  }

  static open(identity: AgentIdentity, epoch = 'epoch-1'): Promise<ScriptedAgent> {
    const ws = new WebSocket(identity.hubUrl + LINK_PATH, LINK_SUBPROTOCOL, {
      ca: identity.caPem,
      cert: identity.certPem,
      key: identity.keyPem,
      perMessageDeflate: false,
    })
    return new Promise((resolve, reject) => {
      ws.once('open', () => resolve(new ScriptedAgent(identity, epoch, ws)))
      ws.once('unexpected-response', (_, answer) => {
        let body = ''
        answer.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        answer.on('end', () => {
          const said = JSON.parse(body) as { code: string; message: string }
          reject(Object.assign(new Error(said.message), { code: said.code, status: answer.statusCode }))
        })
      })
      ws.once('error', reject)
    })
  }

  /** Says hello and waits for the welcome. */
  async hello(
    over: {
      lastSeq?: number
      firstSeq?: number
      gateway?: string
      v?: number
      kinds?: readonly string[]
      machine?: MachineFacts
    } = {},
  ) {
    const { lastSeq = this.seq, firstSeq = lastSeq + 1, gateway = this.identity.gateway, v = 1 } = over
    this.seq = lastSeq
    const holds = [...this.objects.values()].map(({ kind, key, rev }) => [kind, key, rev] as const)
    const welcome = this.next((frame) => frame.t === 'welcome' || frame.t === 'error')
    const kinds = over.kinds === undefined ? {} : { kinds: over.kinds }
    const machine = over.machine === undefined ? {} : { machine: over.machine }
    const told = { t: 'hello', v, gateway, epoch: this.epoch, agentVersion: '0.1.0', lastSeq, firstSeq, holds } as const
    this.send({ ...told, ...kinds, ...machine })
    const frame = await welcome
    if (frame.t === 'welcome') return frame
    throw new SluiceError('SLUICE_LINK_REFUSED', `${frame.t === 'error' ? frame.code : frame.t}`)
  }

  send(frame: AgentFrame): void {
    this.sendText(JSON.stringify(frame))
  }

  sendText(text: string): void {
    this.#ws.send(text)
  }

  sendBinary(bytes: Buffer): void {
    this.#ws.send(bytes)
  }

  /** Sends a batch with the next number and resolves when it is acknowledged. */
  async batch(body: BatchBody, lane: 'live' | 'backfill' = 'live', seq = ++this.seq): Promise<void> {
    const acked = this.acked(seq)
    this.send({ t: 'batch', seq, lane, body })
    await acked
  }

  acked(seq: number): Promise<HubFrame> {
    const covers = (frame: AckFrame) => frame.received.some(([first, last]) => first <= seq && seq <= last)
    return this.next((frame) => frame.t === 'ack' && covers(frame))
  }

  next(wants: (frame: HubFrame) => boolean): Promise<HubFrame> {
    return new Promise((resolve) => void this.#waiters.add({ wants, resolve }))
  }

  async object(kind: LinkObject['kind'], key: string, wants: (object: LinkObject) => boolean = () => true) {
    for (;;) {
      const held = this.objects.get(`${kind} ${key}`)
      if (held !== undefined && wants(held)) return held
      await this.next((frame) => frame.t === 'objects')
    }
  }

  pauseReading(): void {
    this.#ws.pause()
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.#ws.terminate()
  }

  [Symbol.dispose](): void {
    this.#ws.terminate()
  }

  #receive(frame: HubFrame): void {
    if (frame.t === 'objects') this.#take(frame)
    if (this.frames.length < 10_000) this.frames.push(frame)
    this.onFrame?.(frame)
    for (const waiter of this.#waiters) {
      if (!waiter.wants(frame)) continue
      this.#waiters.delete(waiter)
      waiter.resolve(frame)
    }
  }

  #take(frame: ObjectsFrame): void {
    for (const object of frame.upserts) {
      this.objects.set(`${object.kind} ${object.key}`, object)
      this.arrivals.set(`${object.kind} ${object.key}`, performance.now())
    }
    for (const { kind, key } of frame.deletes) this.objects.delete(`${kind} ${key}`)
    if (!this.acknowledge) return
    const items = frame.upserts.map(({ kind, key, rev }) => ({ kind, key, rev, ok: true }))
    if (items.length > 0) this.send({ t: 'objectsAck', items })
  }
}
