import { accessSync, readFileSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findOnPath } from '../find-on-path.ts'
import { type Check, type CheckResult, reporter } from './check.ts'

const report = reporter('machine')
const GIB = 1024 ** 3
const MIB = 1024 ** 2
/** The outbox may take this much of a disk before it drops; below it a long outage cannot be remembered. */
const DISK_WARN_BYTES = GIB
const DISK_FAIL_BYTES = 100 * MIB
const MEMORY_WARN_BYTES = 128 * MIB
const FILES_WARN = 1024
/** A clock before this was never set: a board without a battery starts in 1970 or at its image's build. */
const CLOCK_EARLIEST_MS = Date.UTC(2026, 0, 1)

export const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

export const checkMachine: Check = async (patient) => [
  checkNode(patient.nodeVersion),
  checkPlatform(patient.root, patient.platform),
  checkDisk(patient.data),
  checkMemory(patient.root),
  checkOpenFiles(patient.root),
  checkCgroups(patient.root, patient.platform),
  ...checkClock(patient.root, patient.nowMs),
  checkKubectl(patient.env['PATH'] ?? ''),
]

function checkNode(version: string): CheckResult {
  const major = Number(version.split('.')[0])
  if (major >= 24) return report.ok('Node', version)
  return report.fail(
    'Node',
    `${version} is too old`,
    'Install Node 24 or newer, or run through npm, which brings it along.',
  )
}

function checkPlatform(root: string, platform: string): CheckResult {
  const release = readText(join(root, 'proc/sys/kernel/osrelease'))?.trim()
  if (platform !== 'linux') {
    return report.warn(
      'system',
      `${platform}: the command and the cloud core work here`,
      'Run the agent on Linux for serial lines and pods.',
    )
  }
  return report.ok('system', `Linux ${release ?? ''}`.trim())
}

/** The data folder, or the nearest folder above it that exists. */
function existing(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    try {
      accessSync(at)
      return at
    } catch {
      if (dirname(at) === at) return at
    }
  }
}

function checkDisk(data: string): CheckResult {
  const { bavail, bsize } = statfsSync(existing(data))
  const free = bavail * bsize
  const says = `${free >= GIB ? `${(free / GIB).toFixed(1)} GiB` : `${Math.round(free / MIB)} MiB`} free for ${data}`
  const fix = `See what takes the room: du -xh --max-depth=2 ${existing(data)} | sort -h | tail; or choose another folder: --data DIR.`
  if (free < DISK_FAIL_BYTES) return report.fail('disk', says, fix)
  return free < DISK_WARN_BYTES ? report.warn('disk', says, fix) : report.ok('disk', says)
}

function checkMemory(root: string): CheckResult {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readText(join(root, 'proc/meminfo')) ?? '')
  if (match === null) return report.skip('memory', 'this system does not say how much is free')
  const free = Number(match[1]) * 1024
  const says = `${Math.round(free / MIB)} MiB available`
  if (free >= MEMORY_WARN_BYTES) return report.ok('memory', says)
  return report.warn('memory', says, 'See who takes it: ps -eo rss,args --sort=-rss | head.')
}

function checkOpenFiles(root: string): CheckResult {
  const match = /^Max open files\s+(\d+|unlimited)/m.exec(readText(join(root, 'proc/self/limits')) ?? '')
  if (match === null) return report.skip('open files', 'this system does not say its limit')
  const limit = match[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(match[1])
  if (limit >= FILES_WARN) return report.ok('open files', `limit ${match[1]}`)
  return report.warn(
    'open files',
    `limit ${limit}: few for many devices`,
    'Raise it: ulimit -n 4096, or LimitNOFILE=4096 in the unit.',
  )
}

function checkCgroups(root: string, platform: string): CheckResult {
  if (platform !== 'linux') return report.skip('cgroups', 'not on this system')
  const controllers = readText(join(root, 'sys/fs/cgroup/cgroup.controllers'))?.trim()
  if (controllers !== undefined) return report.ok('cgroups', `version 2 (${controllers})`)
  return report.warn(
    'cgroups',
    'version 2 is not mounted; devices work, limits for workloads do not',
    'Boot with systemd.unified_cgroup_hierarchy=1.',
  )
}

function checkClock(root: string, nowMs: number): CheckResult[] {
  const now = new Date(nowMs).toISOString()
  if (nowMs < CLOCK_EARLIEST_MS) {
    const fix =
      "Set it: timedatectl set-ntp true, or date -s '2026-01-31 12:00'. Certificates do not verify with a wrong clock."
    return [report.fail('clock', `says ${now}, which cannot be`, fix)]
  }
  const timesync = readText(join(root, 'run/systemd/timesync/synchronized')) !== undefined
  const chrony = readText(join(root, 'run/chrony/chronyd.pid')) !== undefined
  const how = timesync ? ', synchronized' : chrony ? ', kept by chrony' : ''
  return [report.ok('clock', `${now}${how}`)]
}

function checkKubectl(path: string): CheckResult {
  const found = findOnPath('kubectl', path)
  if (found !== undefined) return report.ok('kubectl', found)
  return report.warn('kubectl', 'not found; everything else works without it', 'apt-get install kubernetes-client')
}
