import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { systemClock } from '../../api/clock.ts'
import { keptPort } from '../../hil/kept-port.ts'
import { silentLog } from '../log.ts'
import { temporaryDirectory } from '../test-helpers/plant.ts'
import { setPassword } from './access.ts'
import { type EmbeddedBrokerOptions, openEmbeddedBroker } from './embedded.ts'
import { openExternalBroker } from './external.ts'
import type { GatewayBroker } from './gateway-broker.ts'

export const mosquittoPath = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
  .map((folder) => join(folder, 'mosquitto'))
  .find((path) => existsSync(path))

export const embedded = (options: EmbeddedBrokerOptions = {}): Promise<GatewayBroker> =>
  openEmbeddedBroker({ port: 0, ...options }, { clock: systemClock, log: silentLog })

export interface Mosquitto extends AsyncDisposable {
  readonly port: number
  readonly process: ChildProcess
}

/** Debian's mosquitto in a process of its own. */
export async function startMosquitto(lines: readonly string[] = []): Promise<Mosquitto> {
  const directory = temporaryDirectory()
  const port = await keptPort()
  const configuration = join(directory.path, 'mosquitto.conf')
  const user = process.getuid?.() === 0 ? ['user root'] : []
  const defaults = ['allow_anonymous true', 'persistence false'].filter(
    (line) => !lines.some((own) => own.startsWith(line.split(' ')[0]!)),
  )
  writeFileSync(configuration, [`listener ${port} 127.0.0.1`, ...defaults, ...user, ...lines, ''].join('\n'))
  const child = spawn(mosquittoPath!, ['-c', configuration], { stdio: ['ignore', 'ignore', 'pipe'] })
  const started = Promise.withResolvers<void>()
  let text = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    if (text.includes('running')) started.resolve()
  })
  child.once('exit', () => started.reject(new Error(`mosquitto ended: ${text}`)))
  await started.promise
  return {
    port,
    process: child,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit')
      child.kill()
      await ended
      directory[Symbol.dispose]()
    },
  }
}

/** The broker as the agent sees it, and a port for foreign clients. */
export interface BrokerUnderTest extends AsyncDisposable {
  readonly broker: GatewayBroker
  readonly port: number
}

export const brokersUnderTest: readonly (readonly [name: string, start: () => Promise<BrokerUnderTest>])[] = [
  [
    'embedded broker',
    async () => {
      const broker = await embedded()
      return { broker, port: broker.port!, [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose]() }
    },
  ],
  ...(mosquittoPath === undefined
    ? []
    : [
        [
          'external mosquitto',
          async () => {
            const mosquitto = await startMosquitto()
            const url = `mqtt://127.0.0.1:${mosquitto.port}`
            const broker = await openExternalBroker({ url }, { clock: systemClock, log: silentLog })
            return {
              broker,
              port: mosquitto.port,
              async [Symbol.asyncDispose]() {
                await broker[Symbol.asyncDispose]()
                await mosquitto[Symbol.asyncDispose]()
              },
            }
          },
        ] as const,
      ]),
]

export interface TestClient extends AsyncDisposable {
  readonly mqtt: MqttClient
  readonly messages: { readonly topic: string; readonly text: string; readonly retain: boolean }[]
  /** Resolves as soon as `count` messages are there. */
  received(count: number): Promise<void>
}

/** Foreign code: mqtt.js. Rejects when the broker refuses. */
export async function connectClient(port: number, options: IClientOptions = {}): Promise<TestClient> {
  const client = await mqtt.connectAsync({
    host: '127.0.0.1',
    port,
    protocol: 'mqtt',
    reconnectPeriod: 0,
    connectTimeout: 10_000,
    cacheNumbers: false,
    ...options,
  } as IClientOptions)
  const messages: TestClient['messages'] = []
  const waiting: { readonly count: number; readonly resolve: () => void }[] = []
  client.on('message', (topic, payload, { retain }) => {
    messages.push({ topic, text: payload.toString(), retain })
    for (const { count, resolve } of waiting) if (messages.length >= count) resolve()
  })
  client.on('error', () => {})
  return {
    mqtt: client,
    messages,
    received: (count) =>
      messages.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.push({ count, resolve })),
    [Symbol.asyncDispose]: () => client.endAsync(true),
  }
}

const CHILD = `
import { systemClock } from ${JSON.stringify(new URL('../../api/clock.ts', import.meta.url).href)}
import { openEmbeddedBroker } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)}
const broker = await openEmbeddedBroker({ port: 0, directory: process.argv[1] }, { clock: systemClock, log: () => {} })
console.log(broker.port)
`

/** The embedded broker in a process of its own, which can be killed. */
export async function brokerProcess(directory: string): Promise<KillableBroker> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(child.stdout, 'data')
  return {
    port: Number(String(line)),
    async kill() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** The user of `guardedBrokers`: may say what is under home/cellar, and hear what is under home. */
export const GUARDED = { user: 'cellar', password: 'secret' } as const

/** A broker that lets nobody in without a password, with the rights of `GUARDED` in its own words. */
export const guardedBrokers: readonly (readonly [name: string, start: () => Promise<BrokerUnderTest>])[] = [
  [
    'embedded broker',
    async () => {
      const directory = temporaryDirectory()
      const rights = { publish: ['home/%u/#'], subscribe: ['home/#'], devices: ['plant/*'] }
      await setPassword(join(directory.path, 'mqtt-users.json'), GUARDED.user, GUARDED.password, rights)
      const broker = await embedded({ directory: directory.path, host: '127.0.0.1', anonymousLoopback: false })
      return {
        broker,
        port: broker.port!,
        async [Symbol.asyncDispose]() {
          await broker[Symbol.asyncDispose]()
          directory[Symbol.dispose]()
        },
      }
    },
  ],
  ...(mosquittoPath === undefined ? [] : [['external mosquitto', startGuardedMosquitto] as const]),
]

async function startGuardedMosquitto(): Promise<BrokerUnderTest> {
  const directory = temporaryDirectory()
  const file = (name: string) => join(directory.path, name)
  writeFileSync(file('agent-password'), 'of the agent\n', { mode: 0o600 })
  writeFileSync(file('passwords'), `${GUARDED.user}:${GUARDED.password}\nagent:of the agent\n`, { mode: 0o600 })
  // Mosquitto's own tool makes hashes of the passwords in the file.
  execFileSync('mosquitto_passwd', ['-U', file('passwords')])
  const rights = [
    'user agent',
    'topic readwrite #',
    'pattern write home/%u/#',
    `user ${GUARDED.user}`,
    'topic read home/#',
  ]
  writeFileSync(file('acl'), [...rights, ''].join('\n'), { mode: 0o600 })
  const mosquitto = await startMosquitto([
    'allow_anonymous false',
    `password_file ${file('passwords')}`,
    `acl_file ${file('acl')}`,
  ])
  const broker = await openExternalBroker(
    { url: `mqtt://127.0.0.1:${mosquitto.port}`, username: 'agent', passwordFile: file('agent-password') },
    { clock: systemClock, log: silentLog },
  )
  return {
    broker,
    port: mosquitto.port,
    async [Symbol.asyncDispose]() {
      await broker[Symbol.asyncDispose]()
      await mosquitto[Symbol.asyncDispose]()
      directory[Symbol.dispose]()
    },
  }
}

/** A broker in a process of its own. */
export interface KillableBroker {
  readonly port: number
  /** Ends it as hard as it promises to survive: SIGKILL for the embedded one. */
  kill(): Promise<void>
}

/** Brokers that keep sessions in a folder and find them there again. */
export const lastingBrokers: readonly (readonly [
  name: string,
  start: (directory: string) => Promise<KillableBroker>,
])[] = [
  ['embedded broker', brokerProcess],
  ...(mosquittoPath === undefined ? [] : [['external mosquitto', lastingMosquitto] as const]),
]

async function lastingMosquitto(directory: string): Promise<KillableBroker> {
  const location = join(directory, 'mosquitto')
  mkdirSync(location, { recursive: true })
  const lines = ['persistence true', `persistence_location ${location}/`]
  const mosquitto = await startMosquitto(lines)
  // It promises nothing beyond an orderly end: it keeps changes in memory between its saves.
  return {
    port: mosquitto.port,
    async kill() {
      await mosquitto[Symbol.asyncDispose]()
    },
  }
}
