import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../api/clock.ts'
import { type AgentFrame, type HubFrame, LINK_SUBPROTOCOL } from '../../api/link/messages.ts'
import { CertificateAuthority } from '../../cloudcore/join/authority.ts'

export type SeenFrame =
  | { readonly from: 'agent'; readonly frame: AgentFrame; readonly session: number }
  | { readonly from: 'hub'; readonly frame: HubFrame; readonly session: number }

/** What becomes of a frame: passed on, passed on as the last one, or swallowed together with the connection. */
export type Verdict = 'pass' | 'cutAfter' | 'cutBefore'

/** Somebody in the middle of the link who has both sides' keys: sees every frame and can cut at any. */
export interface LinkProxy extends AsyncDisposable {
  /** For the agent, instead of the hub's own address. */
  readonly url: string
  readonly sessions: number
  /** Asked for every frame in both directions, in order. */
  judge: (seen: SeenFrame) => Verdict
  cut(): void
}

export interface LinkProxyOptions {
  /** The cloud core's `pki` folder. */
  readonly pki: string
  readonly hub: () => string
  /** The agent's own identity, once it has one. */
  readonly identity: () => { readonly certPem: string; readonly keyPem: string }
}

export async function linkProxy({ pki, hub, identity }: LinkProxyOptions): Promise<LinkProxy> {
  const authority = await CertificateAuthority.open(pki, systemClock)
  const { keyPem, certPem } = await authority.issueServer('proxy', { dns: ['localhost'], ips: ['127.0.0.1'] }, 1)
  const server = createServer({ key: keyPem, cert: certPem, ca: authority.caPem, requestCert: true })
  const links = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 * 1024 })
  const open = new Set<() => void>()
  let sessions = 0
  server.on('tlsClientError', () => {})
  server.on('upgrade', (request, socket, head) => {
    const { certPem: cert, keyPem: key } = identity()
    const target = hub().replace(/^https:/, 'wss:')
    const options = { ca: authority.caPem, cert, key, perMessageDeflate: false }
    const up = new WebSocket(`${target}${request.url}`, LINK_SUBPROTOCOL, options)
    up.on('error', () => socket.destroy())
    socket.on('error', () => up.terminate())
    up.once('open', () => {
      links.handleUpgrade(request, socket, head, (down) => {
        const session = ++sessions
        const cut = () => {
          open.delete(cut)
          up.terminate()
          down.terminate()
        }
        open.add(cut)
        let ended = false
        const carry = (from: 'agent' | 'hub', text: string, to: WebSocket) => {
          if (ended) return
          const frame: unknown = JSON.parse(text)
          const verdict = proxy.judge({ from, frame, session } as SeenFrame)
          if (verdict === 'pass') return to.send(text, () => {})
          ended = true
          if (verdict === 'cutAfter') to.send(text, cut)
          else cut()
        }
        down.on('message', (data) => carry('agent', data.toString(), up))
        up.on('message', (data) => carry('hub', data.toString(), down))
        for (const side of [up, down]) side.on('error', cut).on('close', cut)
      })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy: LinkProxy = {
    url: `wss://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get sessions() {
      return sessions
    },
    judge: () => 'pass',
    cut() {
      for (const each of [...open]) each()
    },
    async [Symbol.asyncDispose]() {
      proxy.cut()
      server.closeAllConnections()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
  return proxy
}
