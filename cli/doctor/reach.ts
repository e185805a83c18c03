import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { type Endpoint, openRequest, readBody } from '../../api/client/http.ts'
import { toSluiceError } from '../../api/errors.ts'
import { cloudEndpoint, cloudFile, socketPath } from '../device-api.ts'
import { type Check, type CheckResult, type Patient, reporter } from './check.ts'

const report = reporter('reach')
const ANSWER_MS = 5_000
/** Certificates are back-dated by an hour; more than a minute already confuses whoever compares two logs. */
const SKEW_WARN_MS = 60_000
const SKEW_FAIL_MS = 3_600_000
/** Longer paths cannot be bound (sun_path of unix(7), 108 bytes with the closing zero). */
const MAX_SOCKET_PATH = 107

/** Whether the agent and the cloud core of this folder answer. */
export const checkReach: Check = async (patient) => {
  const cloud = await checkCloud(patient)
  // Ports matter to whoever is about to start: those of a cloud core that answers are its own.
  const running = cloud.some(({ name, status }) => name === 'cloud core' && status === 'ok')
  return [...(await checkAgent(patient)), ...cloud, ...(running ? [] : await checkPorts(patient))]
}

async function checkPorts({ ports }: Patient): Promise<CheckResult[]> {
  const wanted = [
    { port: ports.api, use: 'Kubernetes API', option: '--api-port' },
    { port: ports.hub, use: 'hub', option: '--hub-port' },
  ]
  return Promise.all(
    wanted.map(async ({ port, use, option }) => {
      const trouble = await portTrouble(port, '127.0.0.1')
      const name = `port ${port}`
      if (trouble === undefined) return report.ok(name, `free for the ${use}`)
      const says = `${trouble === 'EADDRINUSE' ? 'taken by another program' : trouble}; the ${use} will take another one`
      return report.warn(name, says, `See who has it: ss -ltnp 'sport = :${port}'; or choose: ${option} PORT.`)
    }),
  )
}

async function ask(endpoint: Endpoint, patient: Patient): Promise<{ status: number; date: string | undefined }> {
  const signal = AbortSignal.any([patient.signal, AbortSignal.timeout(ANSWER_MS)])
  const answer = await openRequest(endpoint, { path: '/healthz', signal, idleTimeoutMs: ANSWER_MS })
  const date = answer.headers.date
  await readBody(answer)
  return { status: answer.statusCode ?? 0, date }
}

async function checkAgent(patient: Patient): Promise<CheckResult[]> {
  const path = socketPath(patient.data)
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    return [report.fail('agent', `${path} is too long for a socket`, 'Choose a shorter folder: --data DIR.')]
  }
  if (!existsSync(path)) return [report.skip('agent', 'not running here')]
  try {
    const { status } = await ask({ kind: 'socket', path }, patient)
    if (status < 300) return [report.ok('agent', `answers at ${path}`)]
    return [
      report.warn(
        'agent',
        `answers, but is not well (status ${status})`,
        `curl --unix-socket ${path} http://localhost/healthz`,
      ),
    ]
  } catch (thrown) {
    const { message } = toSluiceError(thrown)
    return [report.fail('agent', message, `If it has crashed, start it again: sluice agent --data ${patient.data}`)]
  }
}

async function checkCloud(patient: Patient): Promise<CheckResult[]> {
  if (!existsSync(cloudFile(patient.data))) return [report.skip('cloud core', 'not kept in this folder')]
  let endpoint: Endpoint
  try {
    endpoint = cloudEndpoint(patient.data)
  } catch (thrown) {
    const { message, hint } = toSluiceError(thrown)
    return [report.fail('cloud core', message, hint ?? 'Start it again: sluice cloud.')]
  }
  const name = endpoint.kind === 'socket' ? endpoint.path : endpoint.url
  try {
    const askedMs = Date.now()
    const { status, date } = await ask(endpoint, patient)
    const reached =
      status < 500
        ? report.ok('cloud core', `answers at ${name}`)
        : report.warn('cloud core', `answers, but is not well (status ${status})`, 'Look at what it prints.')
    return [reached, ...clockSkew(date, (askedMs + Date.now()) / 2)]
  } catch (thrown) {
    const { message } = toSluiceError(thrown)
    return [report.warn('cloud core', message, 'Devices go on without it. Start it: sluice cloud, or sluice up.')]
  }
}

function clockSkew(date: string | undefined, nowMs: number): CheckResult[] {
  if (date === undefined || Number.isNaN(Date.parse(date))) return []
  const skewMs = nowMs - Date.parse(date)
  const says = `${Math.abs(Math.round(skewMs / 1000))} s ${skewMs >= 0 ? 'ahead of' : 'behind'} the cloud core`
  const fix = 'Set both: timedatectl set-ntp true.'
  if (Math.abs(skewMs) >= SKEW_FAIL_MS) return [report.fail('clocks', says, fix)]
  return [Math.abs(skewMs) >= SKEW_WARN_MS ? report.warn('clocks', says, fix) : report.ok('clocks', says)]
}

/** Whether a TCP port could be opened; `undefined` when it could, else the system's code. */
function portTrouble(port: number, host: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'EUNKNOWN'))
    probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(undefined)))
  })
}
