import { readFileSync } from 'node:fs'
import { SluiceError } from '../../../api/errors.ts'

/** An OpenID provider whose people may sign in to the console. The claims are those of kube-apiserver's `--oidc-*` flags. */
export interface OidcConfig {
  /** Exactly as the provider names itself: `https://id.example.org/realms/plant`. */
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret?: string
  /** Default `sub`. */
  readonly usernameClaim: string
  /** Before the claim; default the issuer and `#`, nothing for the claim `email`. */
  readonly usernamePrefix: string
  /** Default `groups`; a provider that does not give it has people without groups. */
  readonly groupsClaim: string
  readonly groupsPrefix: string
  /** Authority of the provider's certificate, where it is not one that everybody knows. */
  readonly caPem?: string
}

/** Flags of the cloud core, by name without `--`. */
export const OIDC_FLAGS = [
  'oidc-issuer',
  'oidc-client-id',
  'oidc-client-secret-file',
  'oidc-username-claim',
  'oidc-username-prefix',
  'oidc-groups-claim',
  'oidc-groups-prefix',
  'oidc-ca-file',
] as const

type Flags = Readonly<Partial<Record<(typeof OIDC_FLAGS)[number], string | undefined>>>

/** Undefined when no issuer is named. Throws SLUICE_OIDC_CONFIG. */
export function readOidcFlags(flags: Flags): OidcConfig | undefined {
  const issuer = flags['oidc-issuer']
  if (issuer === undefined) {
    const lonely = OIDC_FLAGS.find((flag) => flags[flag] !== undefined)
    if (lonely === undefined) return undefined
    throw wrong(`--${lonely} says nothing without --oidc-issuer`)
  }
  if (!URL.canParse(issuer) || new URL(issuer).protocol !== 'https:')
    throw wrong(`--oidc-issuer needs an https:// address, not '${issuer}'`)
  const clientId = flags['oidc-client-id']
  if (clientId === undefined) throw wrong('--oidc-issuer needs --oidc-client-id')
  const usernameClaim = flags['oidc-username-claim'] ?? 'sub'
  const secretFile = flags['oidc-client-secret-file']
  const caFile = flags['oidc-ca-file']
  return {
    issuer,
    clientId,
    usernameClaim,
    usernamePrefix: flags['oidc-username-prefix'] ?? (usernameClaim === 'email' ? '' : `${issuer}#`),
    groupsClaim: flags['oidc-groups-claim'] ?? 'groups',
    groupsPrefix: flags['oidc-groups-prefix'] ?? '',
    ...(secretFile === undefined ? {} : { clientSecret: read(secretFile).trim() }),
    ...(caFile === undefined ? {} : { caPem: read(caFile) }),
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SluiceError('SLUICE_OIDC_CONFIG', `${file} cannot be read`, { cause, hint: 'Name a file that is there.' })
  }
}

const wrong = (message: string) =>
  new SluiceError('SLUICE_OIDC_CONFIG', message, { hint: 'docs/console.md shows a whole example.' })
