import { stringify } from 'yaml'

export interface KubeconfigOptions {
  /** For example `https://127.0.0.1:6443`. */
  readonly url: string
  readonly caPem: string
  readonly certPem: string
  readonly keyPem: string
  /** What kubectl calls the cluster, the user and the context. Default `sluice`. */
  readonly name?: string
}

/** A kubeconfig with everything inside; it holds a private key, so write it with mode 0600. */
export function kubeconfigFor({ url, caPem, certPem, keyPem, name = 'sluice' }: KubeconfigOptions): string {
  const base64 = (pem: string) => Buffer.from(pem).toString('base64')
  return stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name, cluster: { server: url, 'certificate-authority-data': base64(caPem) } }],
      users: [{ name, user: { 'client-certificate-data': base64(certPem), 'client-key-data': base64(keyPem) } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
      'current-context': name,
    },
    { lineWidth: 0 },
  )
}
