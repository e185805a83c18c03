import { SluiceError } from '../../api/errors.ts'

/** What a gateway is told on its first boot. */
export interface GatewaySettings {
  readonly hostname: string
  readonly wifi: Wifi | undefined
  /** Lines of authorized_keys. */
  readonly sshKeys: readonly string[]
  /** Whom the keys let in; the image's own first user when undefined. */
  readonly user: string | undefined
  /** The line that `sluice token create` printed. */
  readonly token: string | undefined
  readonly bundle: BundleOnCard | undefined
}

export interface Wifi {
  readonly ssid: string
  /** WPA passphrase (8 to 63 characters) or key (64 hexadecimal digits); an open network has none. */
  readonly passphrase: string | undefined
  /** Two letters; without it a Raspberry Pi keeps its radio off. */
  readonly country: string
  readonly hidden: boolean
}

export interface BundleOnCard {
  readonly content: Uint8Array
  /** Of the content, in hexadecimal. */
  readonly sha256: string
}

const invalid = (message: string, hint: string): SluiceError =>
  new SluiceError('SLUICE_FLASH_SETTING_INVALID', message, { hint })

/** RFC 1123: one label; it becomes the name of the gateway's host. */
export function checkHostname(text: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text
  throw invalid(
    `'${text}' cannot name a host`,
    'Use lower-case letters, digits and hyphens, at most 63, beginning and ending with a letter or digit.',
  )
}

export function checkUser(text: string): string {
  if (/^[a-z_][a-z0-9_-]{0,31}$/.test(text) && text !== 'root') return text
  throw invalid(`'${text}' cannot name a user`, 'Use lower-case letters, digits, _ and -, at most 32; not root.')
}

const KEY =
  /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d{3}|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]+={0,3}( [\x20-\x7e]*)?$/

/** The public keys in a file, one a line. A private key given by mistake is refused and not quoted. */
export function parseSshKeys(text: string, file: string): readonly string[] {
  if (text.includes('PRIVATE KEY')) {
    throw invalid(`'${file}' is a private key`, 'Give the public one, which ends in .pub. Nothing was written.')
  }
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'))
  if (keys.length === 0 || keys.some((key) => !KEY.test(key))) {
    throw invalid(
      `'${file}' holds no SSH public key, or something else too`,
      'Give a file such as ~/.ssh/id_ed25519.pub.',
    )
  }
  return keys
}

/** Lines `ssid=`, `passphrase=`, `country=`, `hidden=yes`; `#` begins a comment line. Secrets are not quoted in errors. */
export function parseWifi(text: string, file: string): Wifi {
  const fields = new Map<string, string>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue
    const equals = line.indexOf('=')
    const key = line.slice(0, Math.max(0, equals)).trim()
    if (!['ssid', 'passphrase', 'country', 'hidden'].includes(key)) {
      throw invalid(
        `Line ${index + 1} of '${file}' is none of ssid=, passphrase=, country=, hidden=`,
        'Write for example: ssid=Plant, then passphrase=..., then country=DE.',
      )
    }
    fields.set(key, line.slice(equals + 1))
  }
  const ssid = fields.get('ssid') ?? ''
  const country = (fields.get('country') ?? '').trim()
  const passphrase = fields.get('passphrase')
  const printable = (value: string) => !/\p{Cc}/u.test(value)
  if (Buffer.byteLength(ssid) < 1 || Buffer.byteLength(ssid) > 32 || !printable(ssid)) {
    throw invalid(`'${file}' has no ssid= of 1 to 32 bytes`, 'Write the name of the network as it is shown.')
  }
  if (!/^[A-Z]{2}$/.test(country)) {
    throw invalid(`'${file}' has no country=`, 'Give the two capital letters of where the gateway stands: country=DE.')
  }
  if (passphrase !== undefined && !/^[\x20-\x7e]{8,63}$/.test(passphrase) && !/^[0-9a-fA-F]{64}$/.test(passphrase)) {
    throw invalid(
      `The passphrase= in '${file}' is not possible`,
      'It has 8 to 63 characters of ASCII; leave it out for an open network.',
    )
  }
  return { ssid, country, passphrase, hidden: /^(yes|true|1)$/i.test((fields.get('hidden') ?? '').trim()) }
}
