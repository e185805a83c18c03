import { useEffect, useState } from 'preact/hooks'
import { call, type Door } from '../http.ts'
import { Failure } from '../parts/bits.tsx'
import { switchLanguage, t } from '../words.ts'

const LEFT = 'sluice-left'

/** Whoever signs out wants nobody to come in by the name that a sign-in service still knows in this browser. */
export const rememberLeft = (): void => localStorage.setItem(LEFT, '1')

export function SignIn({
  door,
  ended,
  code: given,
  onSigned,
}: {
  readonly door: Door
  /** Whether a session was open and ended by itself. */
  readonly ended: boolean
  readonly code: string
  readonly onSigned: (door: Door) => void
}) {
  const [code, setCode] = useState(given)
  const [token, setToken] = useState('')
  const [error, setError] = useState<unknown>(undefined)
  const enter = async (body: { readonly code: string } | { readonly token: string }) => {
    setError(undefined)
    try {
      const signed = await call<Door>('/v1/session', { method: 'POST', body })
      localStorage.removeItem(LEFT)
      // A code of the address is spent: it has no business in the history of the browser. Whoever had been signed in goes on
      // where they were.
      if (/^#\/(sign-in|refused)\b/.test(location.hash)) history.replaceState(null, '', '#/')
      dispatchEvent(new HashChangeEvent('hashchange'))
      onSigned(signed)
    } catch (thrown) {
      setError(thrown)
    }
  }
  useEffect(() => {
    if (given !== '') void enter({ code: given })
  }, [given])
  const refusal = refusalOf(location.hash)
  const submit = (event: Event) => {
    event.preventDefault()
    void enter(token.trim() === '' ? { code } : { token })
  }
  return (
    <main class="alone">
      <form class="panel sign-in" onSubmit={submit}>
        <h1>Sluice</h1>
        <p class="muted">{door.place}</p>
        {ended ? (
          <p class="failure" role="alert">
            {t('sessionEnded')}
          </p>
        ) : null}
        {door.foreign === undefined ? null : (
          <>
            {refusal === undefined ? null : (
              <p class="failure" role="alert">
                {refusal}
              </p>
            )}
            <a class="button primary" href={`/v1/session/oidc${localStorage.getItem(LEFT) === null ? '' : '?anew'}`}>
              {t('signInBy', { name: door.foreign })}
            </a>
          </>
        )}
        <label for="code">{t('code')}</label>
        <input
          id="code"
          value={code}
          autoComplete="one-time-code"
          spellcheck={false}
          aria-describedby="code-hint"
          onInput={(event) => setCode(event.currentTarget.value)}
        />
        <p class="muted small" id="code-hint">
          {door.kind === 'cloud' ? t('codeHintCloud') : t('codeHint')}
        </p>
        {door.kind === 'cloud' ? (
          <>
            <label for="token">{t('token')}</label>
            <input
              id="token"
              type="password"
              value={token}
              autoComplete="off"
              aria-describedby="token-hint"
              onInput={(event) => setToken(event.currentTarget.value)}
            />
            <p class="muted small" id="token-hint">
              {t('tokenHint')}
            </p>
          </>
        ) : null}
        <Failure error={error} />
        <div class="field">
          <button type="submit" class="primary" disabled={code === '' && token === ''}>
            {t('signIn')}
          </button>
          <span class="grow" />
          <button type="button" class="quiet" onClick={switchLanguage}>
            {t('language')}
          </button>
        </div>
      </form>
    </main>
  )
}

/** What brought somebody back who went to sign in elsewhere. */
function refusalOf(hash: string): string | undefined {
  const code = /^#\/refused\/(\w+)$/.exec(hash)?.[1]
  if (code === undefined) return undefined
  if (code === 'SLUICE_OIDC_NO_ROLE') return t('refusedNoRole')
  return code === 'SLUICE_OIDC_PROVIDER' ? t('refusedProvider') : t('refusedOther')
}
