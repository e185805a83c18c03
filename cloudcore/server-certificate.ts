import type { Clock } from '../api/clock.ts'
import { type SluiceError, toSluiceError } from '../api/errors.ts'
import type { CertificateAuthority } from './join/authority.ts'

export const SERVER_DAYS = 397
const RENEW_SERVER_MS = 30 * 86_400_000

/** Gives a running hub a new certificate long before the old one ends; links that are open do not notice. */
export function keepServerCertificate(
  clock: Clock,
  signal: AbortSignal,
  authority: CertificateAuthority,
  names: { dns: string[]; ips: string[] },
  server: { renewTls(tls: { readonly key: string; readonly cert: string }): void },
  trouble: (what: string, error: SluiceError) => void,
): void {
  const arm = () => {
    const timer = clock.after(RENEW_SERVER_MS / 2, () => void renew(), true)
    signal.addEventListener('abort', () => timer.cancel(), { once: true })
  }
  const renew = async () => {
    try {
      const { keyPem, certPem } = await authority.issueServer('sluice-hub', names, SERVER_DAYS)
      server.renewTls({ key: keyPem, cert: certPem })
    } catch (thrown) {
      trouble('certificate of the hub', toSluiceError(thrown))
    }
    if (!signal.aborted) arm()
  }
  arm()
}
