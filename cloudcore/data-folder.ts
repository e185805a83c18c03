import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import { writeSecretFile } from './join/authority.ts'

/** Where everything of a cloud core is, under one folder. */
export interface DataFolder {
  readonly root: string
  readonly pki: string
  readonly api: string
  readonly hubDatabase: string
  readonly joinDatabase: string
  readonly kubeconfig: string
  readonly cloudFile: string
  readonly tokenFile: string
  /** Signed images of firmware releases. */
  readonly firmware: string
  readonly auditLog: string
}

/** Throws SLUICE_CLOUD_DATA_FOLDER when the folder cannot be made. */
export function openDataFolder(root: string): DataFolder {
  const folder: DataFolder = {
    root,
    pki: join(root, 'pki'),
    api: join(root, 'api'),
    hubDatabase: join(root, 'hub.db'),
    joinDatabase: join(root, 'join.db'),
    kubeconfig: join(root, 'kubeconfig'),
    cloudFile: join(root, 'cloud.json'),
    tokenFile: join(root, 'console-token'),
    firmware: join(root, 'firmware'),
    auditLog: join(root, 'cloud-audit.jsonl'),
  }
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 })
    mkdirSync(folder.pki, { recursive: true, mode: 0o700 })
    if (!existsSync(folder.tokenFile)) writeSecretFile(folder.tokenFile, `${randomBytes(32).toString('base64url')}\n`)
  } catch (cause) {
    throw new SluiceError('SLUICE_CLOUD_DATA_FOLDER', `the data folder ${root} cannot be used`, {
      cause,
      hint: 'Give a folder this user may write to: --data DIR',
    })
  }
  return folder
}

/** What `cloud.json` says to the `sluice` command and to whoever looks for the cloud core. */
export interface CloudFile {
  readonly pid: number
  readonly consoleUrl: string
  readonly hubUrl: string
  readonly hubPort: number
  readonly kubeletPort?: number
  readonly apiUrl: string
  readonly apiPort?: number
  readonly kubeconfig: string
  /** Relative to the folder. */
  readonly tokenFile: string
  readonly caFile: string
}

export function writeCloudFile(folder: DataFolder, content: CloudFile): void {
  writeSecretFile(folder.cloudFile, `${JSON.stringify(content, null, 2)}\n`)
}

/** Ports of the last run: gateways and kubeconfigs know them, so they are kept where possible. */
export function lastPorts(folder: DataFolder): { hubPort?: number; apiPort?: number; kubeletPort?: number } {
  try {
    const content = JSON.parse(readFileSync(folder.cloudFile, 'utf8')) as Record<string, unknown>
    const { hubPort, apiPort, kubeletPort } = content
    return {
      ...(typeof hubPort === 'number' ? { hubPort } : {}),
      ...(typeof apiPort === 'number' ? { apiPort } : {}),
      ...(typeof kubeletPort === 'number' ? { kubeletPort } : {}),
    }
  } catch {
    return {}
  }
}

/** Names and addresses under which this machine may be reached, for server certificates. */
export function serverNames(extra: readonly string[]): { dns: string[]; ips: string[] } {
  const dns = new Set(['localhost', hostname().toLowerCase()])
  const ips = new Set(['127.0.0.1', '::1'])
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (!address.address.startsWith('fe80:')) ips.add(address.address)
    }
  }
  for (const name of extra) {
    if (name === '' || name === '0.0.0.0' || name === '::') continue
    if (/^[0-9.]+$/.test(name) || name.includes(':')) ips.add(name)
    else dns.add(name.toLowerCase())
  }
  return { dns: [...dns].filter((name) => /^[a-z0-9.-]+$/.test(name)), ips: [...ips] }
}

/** The host that goes into URLs for others. */
export function reachableHost(host: string, advertised: string | undefined): string {
  return inUrl(advertised ?? (isAnyAddress(host) ? firstAddress() : host))
}

/** The host that leads from this process to what listens on `host`, whatever others call it. */
export function ownHost(host: string): string {
  if (!isAnyAddress(host)) return inUrl(host)
  return host === '::' ? '[::1]' : '127.0.0.1'
}

const isAnyAddress = (host: string): boolean => host === '0.0.0.0' || host === '::'
const inUrl = (host: string): string => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host)

function firstAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? []) if (!address.internal && address.family === 'IPv4') return address.address
  }
  return '127.0.0.1'
}
