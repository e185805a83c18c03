import { userInfo } from 'node:os'
import { dataFolder } from '../device-api.ts'
import { checkBluetooth } from '../doctor/bluetooth.ts'
import type { Check, CheckResult, Patient } from '../doctor/check.ts'
import { checkDataFolder } from '../doctor/identity.ts'
import { checkMachine } from '../doctor/machine.ts'
import { checkReach } from '../doctor/reach.ts'
import { checkSerial } from '../doctor/serial.ts'
import type { Style } from '../output.ts'
import { padEnd, printable, wrap } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

const CHECKS: readonly Check[] = [checkMachine, checkSerial, checkBluetooth, checkDataFolder, checkReach]

export const doctor = defineVerb({
  name: 'doctor',
  summary: 'Check this machine; says what is wrong and what to type',
  description:
    'Looks at Node, system, disk, memory, clock, serial adapters and who may open them, FTDI latency, Bluetooth, keys and ' +
    'certificates, and whether agent and cloud core answer. Changes nothing. Exits with 1 when something fails; ' +
    'warnings alone exit with 0.',
  options: {
    data: { kind: 'text', value: 'DIR', help: 'Folder of the agent or cloud core (also: SLUICE_DATA).' },
    root: {
      kind: 'text',
      value: 'DIR',
      default: '/',
      help: 'Look at the file tree below DIR, for an image or a backup.',
    },
  },
  examples: [
    { command: 'sluice doctor', says: 'Everything, one line a check' },
    { command: 'sluice doctor --json | jq \'.checks[] | select(.status != "ok")\'', says: 'Only what needs attention' },
  ],
  async run({ options, out, signal, env }) {
    const patient: Patient = {
      root: options.root,
      data: dataFolder(options.data, env),
      env,
      ...whoAmI(),
      platform: process.platform,
      nodeVersion: process.versions.node,
      nowMs: Date.now(),
      ports: { api: 6443, hub: 7443 },
      signal,
    }
    const checks = await examine(patient)
    const failed = checks.filter(({ status }) => status === 'fail').length
    const warned = checks.filter(({ status }) => status === 'warn').length
    if (out.json) out.value({ ok: failed === 0, failed, warned, checks })
    else for (const line of reportLines(checks, out.style, out.width)) out.line(line)
    return failed > 0 ? EXIT.failure : EXIT.ok
  },
})

export async function examine(patient: Patient): Promise<CheckResult[]> {
  const groups = await Promise.all(CHECKS.map((check) => check(patient)))
  return groups.flat()
}

function whoAmI(): { uid: number; groups: readonly number[]; user: string } {
  const uid = process.getuid?.() ?? 0
  const groups = process.getgroups?.() ?? []
  try {
    return { uid, groups, user: userInfo().username }
  } catch {
    // A container may run a user id that has no name.
    return { uid, groups, user: String(uid) }
  }
}

const MARK = { ok: '✓', warn: '!', fail: '✗', skip: '–' } as const

export function reportLines(checks: readonly CheckResult[], style: Style, width: number): string[] {
  const paint = { ok: style.green, warn: style.yellow, fail: style.red, skip: style.dim }
  const lines: string[] = []
  let group = ''
  for (const { group: name, name: subject, status, says, fix } of checks) {
    if (name !== group) lines.push(...(group === '' ? [] : ['']), style.bold(name))
    group = name
    const text = `${printable(subject)}: ${printable(says)}`
    lines.push(`  ${paint[status](padEnd(MARK[status], 2))}${status === 'skip' ? style.dim(text) : text}`)
    if (fix !== undefined) lines.push(...wrap(printable(fix), width - 8, '      ').map((line) => style.cyan(line)))
  }
  const failed = checks.filter(({ status }) => status === 'fail').length
  const warned = checks.filter(({ status }) => status === 'warn').length
  const verdict = failed > 0 ? style.red(`${failed} failed`) : style.green('nothing failed')
  lines.push('', `${checks.length} checks: ${verdict}${warned > 0 ? `, ${style.yellow(`${warned} to look at`)}` : ''}`)
  return lines
}
