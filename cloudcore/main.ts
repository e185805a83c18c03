import { fstatSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { SluiceError, toSluiceError } from '../api/errors.ts'
import { DEFAULT_HEARTBEAT_S } from '../api/link/messages.ts'
import { durationMs } from '../api/twin/duration.ts'
import { OIDC_FLAGS, readOidcFlags } from './console-api/oidc/config.ts'
import { runCloudCore } from './core.ts'
import type { CloudCoreOptions, CloudLog } from './options.ts'

export { type CloudCore, runCloudCore } from './core.ts'

/** One JSON object a line on stderr; stdout carries only the ready line. */
const log: CloudLog = (level, message, fields) => {
  process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), level, message, ...fields })}\n`)
}

function readOptions(args: readonly string[]): CloudCoreOptions {
  let values: Record<string, string | undefined>
  try {
    values = parseArgs({
      args: [...args],
      options: {
        data: { type: 'string' },
        host: { type: 'string' },
        advertise: { type: 'string' },
        'hub-port': { type: 'string' },
        'api-port': { type: 'string' },
        'kubelet-port': { type: 'string' },
        kubeconfig: { type: 'string' },
        'mqtt-url': { type: 'string' },
        'away-after': { type: 'string' },
        ...Object.fromEntries(OIDC_FLAGS.map((flag) => [flag, { type: 'string' } as const])),
      },
    }).values
  } catch (cause) {
    throw new SluiceError('SLUICE_CLOUD_ARGUMENTS', cause instanceof Error ? cause.message : String(cause), { cause })
  }
  const { data, host, advertise, kubeconfig } = values
  const port = (name: string) => {
    const text = values[name]
    if (text === undefined) return undefined
    const number = Number(text)
    if (Number.isInteger(number) && number >= 0 && number <= 65_535) return number
    throw new SluiceError('SLUICE_CLOUD_ARGUMENTS', `--${name} needs a port number, not '${text}'`)
  }
  const hubPort = port('hub-port')
  const apiPort = port('api-port')
  const kubeletPort = port('kubelet-port')
  const mqttUrl = values['mqtt-url']
  const graceMs = readAwayAfter(values['away-after'])
  const oidc = readOidcFlags(values)
  return {
    dataDir: data ?? '.sluice',
    ...(host === undefined ? {} : { host }),
    ...(advertise === undefined ? {} : { advertise }),
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(mqttUrl === undefined ? {} : { mqttUrl }),
    ...(oidc === undefined ? {} : { oidc }),
    // A silence is noticed after two and a half heartbeats.
    ...(graceMs === undefined ? {} : { graceMs, heartbeatMs: Math.min(DEFAULT_HEARTBEAT_S * 1000, graceMs / 2.5) }),
    ...(hubPort === undefined ? {} : { hubPort }),
    ...(apiPort === undefined ? {} : { apiPort }),
    ...(kubeletPort === undefined ? {} : { kubeletPort }),
  }
}

/** Below, a hiccup of a radio would empty a fleet; above, nobody would hear of a gateway that is gone. */
const AWAY_AFTER_MS = { least: 2000, most: 3_600_000 }

function readAwayAfter(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = durationMs(text)
  if (ms >= AWAY_AFTER_MS.least && ms <= AWAY_AFTER_MS.most) return ms
  throw new SluiceError('SLUICE_CLOUD_ARGUMENTS', `--away-after needs 2s to 1h, not '${text}'`)
}

function inputIsSocket(): boolean {
  try {
    return fstatSync(0).isSocket()
  } catch {
    return false
  }
}

async function main(): Promise<void> {
  // Secrets and readings lie in the data folder's files: they are their owner's alone, whatever the folder allows.
  process.umask(0o077)
  const stopping = new AbortController()
  const stopped = new Promise<void>((resolve) => stopping.signal.addEventListener('abort', () => resolve()))
  const stop = () => stopping.abort(new SluiceError('SLUICE_CLOUD_STOPPED', 'stopped before it was ready'))
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  // Started by another process with a socket as its input (as Node does it), it ends when that process does.
  if (inputIsSocket()) process.stdin.on('end', stop).on('error', stop).resume()
  const core = await runCloudCore({ ...readOptions(process.argv.slice(2)), signal: stopping.signal }, { log })
  process.stdout.write(`${JSON.stringify({ event: 'ready', ...core.info })}\n`)
  await stopped
  await core[Symbol.asyncDispose]()
}

if (import.meta.main) {
  main().then(
    () => process.exit(0),
    (thrown: unknown) => {
      const error = toSluiceError(thrown)
      process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), level: 'error', ...error.toJSON() })}\n`)
      process.exit(1)
    },
  )
}
