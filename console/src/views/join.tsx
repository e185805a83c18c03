import { correction, generate } from 'lean-qr/nano'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { PageProps } from '../app.tsx'
import { call } from '../http.ts'
import { Badge, Failure, Panel, WhyField } from '../parts/bits.tsx'
import { useAnswer } from '../use-answer.ts'
import { moment, t } from '../words.ts'

interface Made {
  readonly token: string
  readonly gateway: string
  readonly expiresAt: string
}

interface Listed {
  readonly id: string
  readonly gateway: string
  readonly expiresAt: string
  readonly state: 'unused' | 'used' | 'expired'
}

/** A token with which one gateway joins: to type, to scan, to put on a card. */
export function JoinPage(_: PageProps) {
  const [gateway, setGateway] = useState('')
  const [why, setWhy] = useState('')
  const [made, setMade] = useState<Made | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const { value, again } = useAnswer<{ items: Listed[] }>('/v1/tokens', 5_000)
  const act = async (what: () => Promise<void>) => {
    setError(undefined)
    try {
      await what()
      again()
    } catch (thrown) {
      setError(thrown)
    }
  }
  const submit = (event: Event) => {
    event.preventDefault()
    void act(async () => setMade(await call<Made>('/v1/tokens', { method: 'POST', body: { gateway }, why })))
  }
  const revoke = (id: string) =>
    act(async () => {
      await call(`/v1/tokens/${encodeURIComponent(id)}`, { method: 'DELETE', why })
    })
  return (
    <>
      <div class="title">
        <h1>{t('join')}</h1>
      </div>
      <p class="muted">{t('joinHint')}</p>
      <form class="field" onSubmit={submit}>
        <label for="gateway">{t('gatewayName')}</label>
        <input
          id="gateway"
          required
          value={gateway}
          spellcheck={false}
          pattern="[a-z0-9]([a-z0-9.\-]*[a-z0-9])?"
          title={t('nameHint')}
          onInput={(event) => setGateway(event.currentTarget.value)}
        />
        <WhyField why={why} onInput={setWhy} />
        <button type="submit" class="primary" disabled={gateway === ''}>
          {t('makeToken')}
        </button>
      </form>
      <Failure error={error} />
      {made === undefined ? null : <Token made={made} />}
      <Panel title={t('openTokens')}>
        {(value?.items ?? []).length === 0 ? (
          <p class="muted">{t('none')}</p>
        ) : (
          <div class="scroll-x" tabIndex={0} role="group" aria-label={t('openTokens')}>
            <table class="stack">
              <thead>
                <tr>
                  <th scope="col">{t('gateway')}</th>
                  <th scope="col">{t('state')}</th>
                  <th scope="col">{t('until')}</th>
                  <th scope="col">
                    <span class="hidden">{t('revoke')}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {(value?.items ?? []).map((token) => (
                  <tr key={token.id}>
                    <td>{token.gateway}</td>
                    <td>
                      {token.state === 'unused' ? (
                        <Badge state="unused" />
                      ) : (
                        <span class="muted">{token.state === 'used' ? t('usedToken') : t('expired')}</span>
                      )}
                    </td>
                    <td>{moment(token.expiresAt)}</td>
                    <td class="actions">
                      {token.state === 'unused' ? (
                        <button
                          type="button"
                          aria-label={`${t('revoke')}: ${token.gateway}`}
                          onClick={() => void revoke(token.id)}
                        >
                          {t('revoke')}
                        </button>
                      ) : null}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  )
}

/** For a card that boots into the fleet: the token in a file that only its owner reads, then the card. */
const flashCommand = ({ gateway, token }: Made): string =>
  [
    `(umask 077; cat >${gateway}.token) <<'EOF'`,
    token,
    'EOF',
    `sudo sluice flash gateway --image raspios.img.xz --device auto --join-token-file ${gateway}.token --hostname ${gateway}`,
  ].join('\n')

function Token({ made }: { readonly made: Made }) {
  // From standard input: what stands in argv, every user of the machine can read.
  const command = `sluice join <<'EOF'\n${made.token}\nEOF`
  return (
    <Panel
      title={made.gateway}
      aside={<span class="muted small">{t('tokenOnce', { at: moment(made.expiresAt) })}</span>}
    >
      <div class="token">
        <QrCode text={made.token} />
        <div>
          <h3>{t('onGateway')}</h3>
          <Copyable text={command} />
          <h3>{t('orFlash')}</h3>
          <p class="muted small">{t('orFlashHint')}</p>
          <Copyable text={flashCommand(made)} />
        </div>
      </div>
    </Panel>
  )
}

function Copyable({ text }: { readonly text: string }) {
  const [copied, setCopied] = useState(false)
  const copy = () => navigator.clipboard.writeText(text).then(() => setCopied(true))
  return (
    <div class="copyable">
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <button type="button" onClick={() => void copy()}>
        {copied ? t('copied') : t('copy')}
      </button>
    </div>
  )
}

function QrCode({ text }: { readonly text: string }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    // Black on white in dark mode, too: that is what scanners expect.
    if (canvas.current !== null)
      generate(text, { minCorrectionLevel: correction.L }).toCanvas(canvas.current, {
        on: [0, 0, 0],
        off: [255, 255, 255],
      })
  }, [text])
  return <canvas ref={canvas} class="qr" role="img" aria-label={t('qr')} />
}
