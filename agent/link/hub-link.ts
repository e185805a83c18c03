import { readFileSync, rmSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Clock, delay, type Timer } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { GatewayStatus } from '../../api/resources.ts'
import type { AgentCore } from '../core.ts'
import type { Log } from '../log.ts'
import type { StreamHandler, StreamHost } from '../streams/host.ts'
import { LinkClient } from './client.ts'
import { type Identity, renewAtMs, saveIdentity } from './identity.ts'
import type { SessionOptions } from './session.ts'
import { type LinkStatus, newLinkStatus } from './status.ts'

export interface HubLinkOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly gateway: string
  readonly agentVersion: string
  readonly dataDir: string
  readonly identity: Identity | undefined
  readonly joinTokenFile: string | undefined
  /** Address that wins over the one in the identity. */
  readonly hubUrl: string | undefined
  readonly gatewayStatus: () => GatewayStatus
  /** Who serves streams of a kind, loaded when the first of them is asked for. */
  readonly streams?: (kind: string) => Promise<StreamHandler | undefined>
  /** At a time; default as for one gateway. */
  readonly maxStreams?: number
}

export interface HubLink extends AsyncDisposable {
  readonly status: LinkStatus
  /** Whether the hub has everything but what is in flight right now. */
  readonly caughtUp: boolean
  /** Says hello once more, because what it said is not so any more. */
  reconnect(reason: string): void
}

const RETRY_MS = [1000, 2000, 5000, 10_000, 30_000] as const
const RENEW_RETRY_MS = 600_000
const EARLIEST_SHARE = 0.7
const LATEST_SHARE = 0.9

/** Joins when needed, keeps the link, renews the certificate. Everything of TLS is loaded here, behind the start. */
export function openHubLink(options: HubLinkOptions): HubLink {
  const { core, clock, random, log } = options
  const status = newLinkStatus(options.identity?.hubUrl ?? '')
  const stop = new AbortController()
  let identity = options.identity
  let client: LinkClient | undefined
  let renewal: Timer | undefined
  let hosting: Promise<StreamHost> | undefined

  /** Nothing of streams is loaded before the hub asks for the first. */
  const hostStreams = async (handler: NonNullable<HubLinkOptions['streams']>): Promise<StreamHost> => {
    const [{ StreamHost }, { streamDialler }] = await Promise.all([
      import('../streams/host.ts'),
      import('../streams/dial.ts'),
    ])
    const open = streamDialler(() => addressed(identity!))
    const { maxStreams } = options
    return new StreamHost({ clock, log, handler, open, ...(maxStreams === undefined ? {} : { maxStreams }) })
  }
  const addressed = (known: Identity): Identity =>
    options.hubUrl === undefined ? known : { ...known, hubUrl: options.hubUrl }

  const scheduleRenewal = (waitMs: number) => {
    renewal?.cancel()
    renewal = clock.after(Math.max(0, waitMs), () => void renewNow(), true)
  }
  const planRenewal = (known: Identity) => {
    const share = EARLIEST_SHARE + random() * (LATEST_SHARE - EARLIEST_SHARE)
    // A timer holds at most 24 days; longer waits are planned again when it fires.
    scheduleRenewal(Math.min(renewAtMs(known, share) - clock.now(), 20 * 86_400_000))
  }
  const renewNow = async () => {
    if (identity === undefined || stop.signal.aborted) return
    if (clock.now() < renewAtMs(identity, EARLIEST_SHARE)) {
      planRenewal(identity)
      return
    }
    try {
      const { renew } = await import('./enrol.ts')
      identity = await renew(addressed(identity), clock.now(), stop.signal)
      saveIdentity(options.dataDir, identity)
      log('info', 'The certificate was renewed')
      client?.reconnect('the certificate was renewed')
      planRenewal(identity)
    } catch (thrown) {
      const { code, message } = toSluiceError(thrown)
      log('warn', `The certificate could not be renewed: ${message}`, { code })
      if (!stop.signal.aborted) scheduleRenewal(RENEW_RETRY_MS * (0.5 + random() / 2))
    }
  }

  const dialler =
    (handler: NonNullable<HubLinkOptions['streams']>): NonNullable<SessionOptions['onDial']> =>
    (frame, refuse) => {
      hosting ??= hostStreams(handler)
      void hosting.then((host) => host.dial(frame, refuse))
    }

  const run = async () => {
    identity ??= await joinUntilDone(options, stop.signal)
    const { websocketDial } = await import('./websocket.ts')
    if (stop.signal.aborted) return
    status.hubUrl = addressed(identity).hubUrl
    client = new LinkClient({
      core,
      clock,
      random,
      log,
      gateway: identity.gateway,
      agentVersion: options.agentVersion,
      status,
      gatewayStatus: options.gatewayStatus,
      ...(options.streams === undefined ? {} : { onDial: dialler(options.streams) }),
      dial: websocketDial(() => addressed(identity!)),
    })
    core.listener = client
    client.start()
    planRenewal(identity)
  }
  const running = run().catch((thrown: unknown) => {
    if (stop.signal.aborted) return
    const { code, message, hint } = toSluiceError(thrown)
    status.lastError = { code, message }
    log('error', `There is no link to a hub: ${message}`, { code, hint: hint ?? '' })
  })

  return {
    status,
    get caughtUp() {
      return client?.caughtUp ?? false
    },
    reconnect: (reason) => client?.reconnect(reason),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('the agent stops'))
      renewal?.cancel()
      client?.[Symbol.dispose]()
      await (await hosting)?.[Symbol.asyncDispose]()
      await running
    },
  }
}

/** Joins, trying again for as long as the hub cannot be reached; a refusal is final. */
async function joinUntilDone(options: HubLinkOptions, signal: AbortSignal): Promise<Identity> {
  const { clock, random, log } = options
  const { join, newKey } = await import('./enrol.ts')
  const key = newKey()
  for (let attempt = 0; ; attempt++) {
    try {
      const identity = await join(readToken(options.joinTokenFile!), signal, key)
      saveIdentity(options.dataDir, identity)
      // Left there for this agent by whoever installed it; a used token is of no use to anybody.
      if (dirname(resolve(options.joinTokenFile!)) === resolve(options.dataDir))
        rmSync(options.joinTokenFile!, { force: true })
      log('info', `Joined as gateway ${identity.gateway}`, { hub: identity.hubUrl })
      return identity
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code !== 'SLUICE_JOIN_UNREACHABLE' || signal.aborted) throw error
      const pauseMs = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]! * (0.5 + random() / 2)
      log(attempt === 0 ? 'warn' : 'debug', error.message, { code: error.code, retryMs: Math.round(pauseMs) })
      await delay(clock, pauseMs, signal)
    }
  }
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new SluiceError('SLUICE_JOIN_TOKEN_FILE', `The token file ${path} cannot be read`, {
      hint: 'Write the line that `sluice token create` printed into it, readable by this user.',
      cause,
    })
  }
}
