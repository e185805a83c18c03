import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { websocketDial } from './websocket.ts'

let server: Server
let answer = ''
beforeEach(async () => {
  server = createServer()
  server.on('upgrade', (_request, socket) => socket.end(answer))
  await once(server.listen(0, '127.0.0.1'), 'listening')
})
afterEach(() => void server.close())

/** Why a connection to the server came to nothing. */
function refused(): Promise<string> {
  const { port } = server.address() as AddressInfo
  const identity = { gateway: 'gw', hubUrl: `ws://127.0.0.1:${port}`, keyPem: '', certPem: '', caPem: '' }
  return new Promise((resolve, reject) => {
    const onOpen = () => reject(new Error('it was let in'))
    websocketDial(() => identity)({ onOpen, onMessage: () => {}, onDrain: () => {}, onClose: resolve })
  })
}

const http = (status: string, body: string) =>
  `HTTP/1.1 ${status}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`

it('says in the words of the hub why it was not let in, and what to do', async () => {
  const said = { code: 'SLUICE_JOIN_CERT_REVOKED', message: 'the certificate is revoked', hint: 'Join again' }
  answer = http('403 Refused', JSON.stringify(said))
  expect(await refused()).toBe('The hub refused: SLUICE_JOIN_CERT_REVOKED: the certificate is revoked (Join again)')
})

it.each(['', 'gateway time-out', '[]', '{"code":5}', `{"code":"${'x'.repeat(20_000)}"}`])(
  'says the status where something else answers: %s',
  async (body) => {
    answer = http('502 Bad Gateway', body)
    expect(await refused()).toBe("the hub's address answered with HTTP status 502")
  },
)
