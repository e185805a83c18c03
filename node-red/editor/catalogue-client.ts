import type { Catalogue } from '../src/catalogue.ts'

export type Answer = Catalogue | { readonly state: 'undeployed' | 'unreachable' }

/** Asks the runtime what the chosen gateway knows. Relative to the editor's page, so that it works behind a proxy. */
export async function fetchCatalogue(gateway: string): Promise<Answer> {
  if (gateway === '' || gateway === '_ADD_') return { state: 'undeployed' }
  try {
    const headers: Record<string, string> = { accept: 'application/json' }
    const token = signedIn()
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`
    const root = RED.settings.apiRootUrl ?? ''
    const answer = await fetch(`${root}sluice/${encodeURIComponent(gateway)}/catalogue`, { headers })
    if (answer.status === 404) return { state: 'undeployed' }
    if (!answer.ok) return { state: 'unreachable' }
    return (await answer.json()) as Catalogue
  } catch {
    return { state: 'unreachable' }
  }
}

/** The editor's own token, where Node-RED has users. */
function signedIn(): string | undefined {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem('auth-tokens') ?? 'null')
    if (typeof kept !== 'object' || kept === null || !('access_token' in kept)) return undefined
    return typeof kept.access_token === 'string' ? kept.access_token : undefined
  } catch {
    return undefined
  }
}
