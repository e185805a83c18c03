import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Endpoint } from '../../api/client/http.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { catalogue } from './catalogue.ts'
import { GatewayConnection } from './connection.ts'
import { cursorFile } from './cursor-keeper.ts'
import { connectionOf, registerConnection } from './gateways.ts'
import type { NodeConfig, Red, RedNode } from './red.ts'

const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')

/** Where the agent of this machine keeps its socket when nobody says otherwise: the folder of `sluice up`. */
function socketOf(config: NodeConfig): string {
  const given = text(config['socket'])
  if (given !== '') return given
  const data = process.env['SLUICE_DATA']
  return process.env['SLUICE_SOCKET'] ?? join(resolve(data ?? '.sluice'), 'agent.sock')
}

/** What the editor wrote, as an address. Throws when a part is missing or unreadable. */
export function endpointOf(config: NodeConfig, token: string | undefined): Endpoint {
  const target = text(config['target'])
  if (target !== 'cloud' && target !== 'port') return { kind: 'socket', path: socketOf(config) }
  const url = text(config['url'])
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new SluiceError('SLUICE_NODERED_ADDRESS', `'${url}' is not an address`, {
      hint: target === 'cloud' ? 'Write it like https://hub:7443.' : 'Write it like http://127.0.0.1:8099.',
    })
  }
  const known = token === undefined || token === '' ? {} : { token }
  if (target === 'port') return { kind: 'http', url, ...known }
  if (new URL(url).protocol !== 'https:') {
    throw new SluiceError('SLUICE_NODERED_ADDRESS', 'a cloud core is reached by https only', {
      hint: 'Write it like https://hub:7443.',
    })
  }
  const ca = text(config['ca'])
  return { kind: 'https', url, ...known, ...(ca === '' ? {} : { caPem: readFileSync(ca, 'utf8') }) }
}

const nameOf = (endpoint: Endpoint): string => (endpoint.kind === 'socket' ? endpoint.path : endpoint.url)

/** The configuration node: one connection for every node that names it. */
export function register(RED: Red): void {
  RED.nodes.registerType(
    'sluice-gateway',
    function (this: RedNode, config: NodeConfig) {
      RED.nodes.createNode(this, config)
      let connection: GatewayConnection
      try {
        const endpoint = endpointOf(config, this.credentials?.['token'])
        const folder = RED.settings.userDir ?? process.cwd()
        connection = new GatewayConnection(endpoint, cursorFile(folder, this.id, nameOf(endpoint)))
      } catch (thrown) {
        const { message, hint } = toSluiceError(thrown)
        this.error(hint === undefined ? message : `${message}. ${hint}`)
        return
      }
      const unregister = registerConnection(this, connection)
      let told = ''
      connection.subscribe(this.id, {
        state: (state) => {
          const line = state.is === 'lost' ? state.reason : state.is
          if (line === told) return
          told = line
          if (state.is === 'lost') this.warn(state.reason)
          else if (state.is === 'connected') this.log(`connected to ${nameOf(connection.api.endpoint)}`)
        },
      })
      connection.start()
      this.on('close', (_removed, done) => {
        connection.stop()
        unregister()
        done()
      })
    },
    { credentials: { token: { type: 'password' } } },
  )

  // The pickers of the editor: what the gateway knows right now.
  RED.httpAdmin.get('/sluice/:id/catalogue', RED.auth.needsPermission('sluice-gateway.read'), (request, response) => {
    const node = RED.nodes.getNode(request.params['id'] ?? '')
    const connection = node === null ? undefined : connectionOf(node)
    if (connection === undefined) response.status(404).json({ state: 'undeployed' })
    else void catalogue(connection).then((known) => response.json(known))
  })
}
