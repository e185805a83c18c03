import { X509Certificate } from 'node:crypto'
import { accessSync, constants, type Dirent, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { type Check, type CheckResult, type Patient, reporter } from './check.ts'

const report = reporter('data folder')
const DAY_MS = 86_400_000
const EXPIRY_WARN_DAYS = 7
const MAX_DEPTH = 3
const MAX_PEM_BYTES = 64 * 1024

/** The data folder itself, the keys in it and the certificates that go with them. */
export const checkDataFolder: Check = async (patient) => {
  const { data } = patient
  try {
    if (!statSync(data).isDirectory()) {
      return [report.fail('folder', `${data} is a file`, 'Choose another folder: --data DIR.')]
    }
  } catch {
    return [writableParent(data), report.skip('certificates', 'none yet')]
  }
  try {
    accessSync(data, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    return [report.fail('folder', `${patient.user} may not write to ${data}`, `sudo chown -R ${patient.user} ${data}`)]
  }
  const folder = report.ok('folder', data)
  const pems = pemFiles(data, MAX_DEPTH)
  const certificates = pems.flatMap(({ path, text }) => readCertificates(path, text))
  return [
    folder,
    ...pems.flatMap(({ path, text }) => keyMode(path, text, data)),
    ...certificates
      .filter(({ certificate }) => !certificate.ca)
      .map((each) => checkCertificate(each, certificates, patient)),
    ...(certificates.length === 0 ? [report.skip('certificates', 'none yet')] : []),
  ]
}

function writableParent(data: string): CheckResult {
  let parent = dirname(data)
  for (;;) {
    try {
      accessSync(parent, constants.W_OK)
      return report.ok('folder', `${data} will be made at the first start`)
    } catch (error) {
      const gone = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      if (gone && dirname(parent) !== parent) parent = dirname(parent)
      else
        return report.fail(
          'folder',
          `${data} cannot be made`,
          `mkdir -p ${data} with the rights it takes, or --data DIR.`,
        )
    }
  }
}

interface PemFile {
  readonly path: string
  readonly text: string
}

function pemFiles(folder: string, depth: number): PemFile[] {
  let entries: Dirent[]
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return depth > 1 ? pemFiles(path, depth - 1) : []
    if (!/\.(crt|pem|key|cert|json)$/.test(entry.name)) return []
    try {
      return statSync(path).size > MAX_PEM_BYTES
        ? []
        : [{ path, text: readFileSync(path, 'utf8').replaceAll('\\n', '\n') }]
    } catch {
      return []
    }
  })
}

function keyMode(path: string, text: string, data: string): CheckResult[] {
  if (!text.includes('PRIVATE KEY')) return []
  const mode = statSync(path).mode & 0o777
  const name = relative(data, path)
  if ((mode & 0o077) === 0) return [report.ok(name, 'private key, only its owner can read it')]
  return [report.fail(name, `private key that others can read (mode ${mode.toString(8)})`, `chmod 600 ${path}`)]
}

interface FoundCertificate {
  readonly path: string
  readonly certificate: X509Certificate
}

function readCertificates(path: string, text: string): FoundCertificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.flatMap((block) => {
    try {
      return [{ path, certificate: new X509Certificate(block) }]
    } catch {
      return []
    }
  })
}

function checkCertificate(
  { path, certificate }: FoundCertificate,
  all: readonly FoundCertificate[],
  { nowMs, data }: Patient,
): CheckResult {
  const name = relative(data, path)
  const subject = certificate.subject.replaceAll('\n', ', ')
  const expiresMs = Date.parse(certificate.validTo)
  if (Date.parse(certificate.validFrom) > nowMs) {
    return report.fail(
      name,
      `${subject} is not valid before ${certificate.validFrom}`,
      'Set the clock: timedatectl set-ntp true.',
    )
  }
  if (expiresMs <= nowMs) {
    const fix = 'Start the agent: it renews up to 90 days after. Later, join again: sluice join --token-file FILE.'
    return report.fail(name, `${subject} expired on ${certificate.validTo}`, fix)
  }
  const issuers = all.filter(({ certificate: other }) => other.ca && certificate.checkIssued(other))
  const signed = issuers.some(({ certificate: issuer }) => certificate.verify(issuer.publicKey))
  if (issuers.length > 0 && !signed) {
    return report.fail(
      name,
      `${subject} is not signed by the authority beside it`,
      'Join again: sluice join --token-file FILE.',
    )
  }
  const days = Math.floor((expiresMs - nowMs) / DAY_MS)
  const says = `${subject}, ${days} days left${signed ? ', chain is right' : ''}`
  if (days >= EXPIRY_WARN_DAYS) return report.ok(name, says)
  return report.warn(name, says, 'It renews by itself while the agent is connected: sluice status says whether it is.')
}
