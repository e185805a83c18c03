import { readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Check, type CheckResult, type Patient, reporter } from './check.ts'
import { readText } from './machine.ts'

const report = reporter('serial')

const list = (folder: string): string[] => {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

interface Adapter {
  /** `/dev/ttyUSB0`, without the root. */
  readonly device: string
  /** The same device by a name that survives re-plugging. */
  readonly byId: string | undefined
}

/** Adapters that come and go: USB serial, USB modems, the UARTs of single-board computers. */
function adapters(root: string): Adapter[] {
  const byId = new Map<string, string>()
  for (const name of list(join(root, 'dev/serial/by-id'))) {
    try {
      byId.set(basename(realpathSync(join(root, 'dev/serial/by-id', name))), `/dev/serial/by-id/${name}`)
    } catch {
      // A link to an adapter that was just unplugged.
    }
  }
  return list(join(root, 'dev'))
    .filter((name) => /^tty(USB|ACM|AMA|SC|mxc|O)\d+$/.test(name))
    .map((name) => ({ device: `/dev/${name}`, byId: byId.get(name) }))
}

export const checkSerial: Check = async (patient) => {
  if (patient.platform !== 'linux') return [report.skip('adapters', 'not on this system')]
  const found = adapters(patient.root)
  if (found.length === 0) return [report.skip('adapters', 'none plugged in'), ...rivals(patient.root)]
  return [...found.flatMap((adapter) => adapterChecks(adapter, patient)), ...rivals(patient.root)]
}

function adapterChecks({ device, byId }: Adapter, patient: Patient): CheckResult[] {
  const results: CheckResult[] = []
  const name = byId ?? device
  const path = join(patient.root, device)
  results.push(
    permission(name, path, patient) ?? report.ok(name, byId === undefined ? 'usable' : `usable, now ${device}`),
  )
  if (byId === undefined && /USB|ACM/.test(device)) {
    const fix =
      'If there are several, name each by /dev/serial/by-path/..., which follows the socket it is plugged into.'
    results.push(report.warn(name, 'has no /dev/serial/by-id name, so its number may change', fix))
  }
  const owner = whoHolds(device, patient.root)
  if (owner !== undefined) {
    const fix = `If that is not the agent, stop it: ps -p ${owner.pid} -o args; kill ${owner.pid}`
    if (owner.name === 'node') results.push(report.ok(name, `open in process ${owner.pid} (${owner.name})`))
    else results.push(report.warn(name, `busy: process ${owner.pid} (${owner.name}) has it open`, fix))
  }
  const latency = latencyTimer(device, patient.root)
  if (latency !== undefined && latency > 1) {
    const file = `/sys/bus/usb-serial/devices/${basename(device)}/latency_timer`
    results.push(
      report.warn(name, `latency timer is ${latency} ms: every answer waits that long`, `echo 1 | sudo tee ${file}`),
    )
  } else if (latency === 1) results.push(report.ok(name, 'latency timer is 1 ms'))
  return results
}

function permission(name: string, path: string, patient: Patient): CheckResult | undefined {
  let stat: ReturnType<typeof statSync>
  try {
    stat = statSync(path)
  } catch {
    return report.fail(name, 'vanished while looking', 'Plug it in again and look at dmesg | tail.')
  }
  const mode = stat.mode
  const allowed =
    patient.uid === 0 ||
    (patient.uid === stat.uid && (mode & 0o600) === 0o600) ||
    (patient.groups.includes(stat.gid) && (mode & 0o060) === 0o060) ||
    (mode & 0o006) === 0o006
  if (allowed) return undefined
  const group = groupName(stat.gid, patient.root)
  return report.fail(
    name,
    `${patient.user} may not open it (group ${group})`,
    `sudo usermod -aG ${group} ${patient.user}, then log in again`,
  )
}

function groupName(gid: number, root: string): string {
  const line = (readText(join(root, 'etc/group')) ?? '').split('\n').find((each) => each.split(':')[2] === String(gid))
  return line?.split(':')[0] ?? 'dialout'
}

/** The first process that has the device open; those of other users are visible to root only. */
function whoHolds(device: string, root: string): { pid: number; name: string } | undefined {
  for (const pid of list(join(root, 'proc')).filter((name) => /^\d+$/.test(name))) {
    const folder = join(root, 'proc', pid, 'fd')
    for (const fd of list(folder)) {
      try {
        if (readlinkSync(join(folder, fd)) === device) {
          return { pid: Number(pid), name: readText(join(root, 'proc', pid, 'comm'))?.trim() ?? 'unknown' }
        }
      } catch {
        // Closed meanwhile, or not ours to see.
      }
    }
  }
  return undefined
}

/** FTDI chips hold answers back for 16 ms unless told otherwise. */
function latencyTimer(device: string, root: string): number | undefined {
  const text = readText(join(root, 'sys/bus/usb-serial/devices', basename(device), 'latency_timer'))
  return text === undefined ? undefined : Number(text.trim())
}

/** Programs that open every new serial port to see whether it is theirs, and swallow its first bytes. */
function rivals(root: string): CheckResult[] {
  const known = new Set(['ModemManager', 'brltty', 'gpsd'])
  return list(join(root, 'proc'))
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => readText(join(root, 'proc', pid, 'comm'))?.trim() ?? '')
    .filter((name, index, all) => known.has(name) && all.indexOf(name) === index)
    .map((name) =>
      report.warn(
        name,
        'is running: it may open serial adapters that are not its own',
        `sudo systemctl disable --now ${name}`,
      ),
    )
}
