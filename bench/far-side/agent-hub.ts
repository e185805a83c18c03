import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { certificateRequest } from '../../agent/link/csr.ts'
import { type Identity, saveIdentity } from '../../agent/link/identity.ts'
import { systemClock } from '../../api/clock.ts'
import {
  type AgentFrame,
  type HubFrame,
  LINK_PATH,
  LINK_VERSION,
  MAX_FRAME_BYTES,
  type SeqRange,
  valuesIn,
} from '../../api/link/messages.ts'
import { addRange } from '../../api/link/ranges.ts'
import { CertificateAuthority } from '../../cloudcore/join/authority.ts'

/** A hub that acknowledges everything and keeps nothing, over mutual TLS: what it costs is the agent's side alone. */
export class AckingHub implements AsyncDisposable {
  values = 0
  batches = 0
  /** Values that came in the lane of the backlog. */
  backfilled = 0
  /** Batches that came after a later one of their lane. */
  outOfOrder = 0
  connections = 0
  /** Every number that came, as a batch or as a gap. */
  received: readonly SeqRange[] = []
  readonly #server: ReturnType<typeof createServer>
  readonly #identity: Identity

  private constructor(server: ReturnType<typeof createServer>, identity: Identity) {
    this.#server = server
    this.#identity = identity
  }

  static async open(directory: string): Promise<AckingHub> {
    const authority = await CertificateAuthority.open(directory, systemClock)
    const names = { dns: ['localhost'], ips: ['127.0.0.1'] }
    const { keyPem: key, certPem: cert } = await authority.issueServer('hub', names, 1)
    const server = createServer({ key, cert, ca: authority.caPem, requestCert: true, rejectUnauthorized: true })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const gatewayKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const request = certificateRequest(gatewayKey, 'gw-1')
    const { certPem } = await authority.signGateway(request, { commonName: 'gw-1', organization: 'gateways' }, 1)
    const hub = new AckingHub(server, {
      gateway: 'gw-1',
      hubUrl: `wss://127.0.0.1:${(server.address() as AddressInfo).port}`,
      keyPem: gatewayKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      certPem,
      caPem: authority.caPem,
    })
    hub.#serve()
    return hub
  }

  /** Makes the agent of this data directory a gateway of this hub. */
  admit(dataDir: string): void {
    saveIdentity(dataDir, this.#identity)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #serve(): void {
    const sockets = new WebSocketServer({
      server: this.#server,
      path: LINK_PATH,
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
    })
    sockets.on('connection', (socket) => {
      this.connections++
      const send = (frame: HubFrame) => socket.send(JSON.stringify(frame))
      const last = { live: 0, backfill: 0 }
      let acks: readonly SeqRange[] = []
      socket.on('message', (data) => {
        const frame = JSON.parse(data.toString()) as AgentFrame
        if (frame.t === 'hello') {
          const window = { batches: 256, bytes: 4 * 1024 * 1024 }
          send({
            t: 'welcome',
            v: LINK_VERSION,
            session: '1',
            nowMs: Date.now(),
            heartbeatMs: 15_000,
            received: [],
            window,
          })
        } else if (frame.t === 'ping') send({ t: 'pong', id: frame.id })
        else if (frame.t === 'batch' || frame.t === 'gap') {
          if (frame.t === 'batch') {
            this.batches++
            this.values += valuesIn(frame.body)
            if (frame.lane === 'backfill') this.backfilled += valuesIn(frame.body)
            if (frame.seq <= last[frame.lane]) this.outOfOrder++
            last[frame.lane] = frame.seq
          }
          if (acks.length === 0) {
            setImmediate(() => {
              send({ t: 'ack', received: acks })
              acks = []
            })
          }
          const range: SeqRange = frame.t === 'batch' ? [frame.seq, frame.seq] : frame.range
          this.received = addRange(this.received, range)
          acks = addRange(acks, range)
        }
      })
      socket.on('error', () => {})
    })
  }
}
