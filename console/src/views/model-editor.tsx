import { useEffect, useRef, useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import { call } from '../http.ts'
import { Failure, WhyField } from '../parts/bits.tsx'
import { YamlField } from '../parts/yaml-field.tsx'
import type { Signed } from '../route.ts'
import { t } from '../words.ts'
import { Trial } from './trial.tsx'

interface ModelFinding {
  readonly severity: 'error' | 'warning'
  readonly line: number
  readonly column: number
  readonly message: string
  readonly hint: string
}

interface Check {
  readonly findings: readonly ModelFinding[]
  readonly models: readonly string[]
}

export interface EditorProps {
  readonly session: Signed
  readonly text: string
  readonly setText: (text: string) => void
  readonly onApplied: (text: string) => void
}

const CHECK_AFTER_MS = 300

/** A model's text: checked while it is typed, completed from the schema, tried on a device, applied. */
export function Editor({ session, text, setText, onApplied }: EditorProps) {
  const [check, setCheck] = useState<(Check & { readonly of: string }) | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [why, setWhy] = useState('')
  const [made, setMade] = useState<readonly string[]>([])
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    const over = new AbortController()
    const timer = setTimeout(() => {
      call<Check>('/v1/check', { method: 'POST', body: { text }, signal: over.signal }).then(
        (found) => {
          setCheck({ ...found, of: text })
          setError(undefined)
        },
        (thrown: unknown) => over.signal.aborted || setError(thrown),
      )
    }, CHECK_AFTER_MS)
    setMade([])
    return () => {
      clearTimeout(timer)
      over.abort()
    }
  }, [text])
  const apply = async () => {
    try {
      setMade((await call<{ made: string[] }>('/v1/models', { method: 'POST', body: { text }, why })).made)
      onApplied(text)
    } catch (thrown) {
      setError(thrown)
    }
  }
  const findings = check?.findings ?? []
  // What was found of an earlier text stays in sight until the next answer, and allows nothing.
  const current = check?.of === text
  const sound = current && !findings.some(({ severity }) => severity === 'error')
  const goTo = ({ line, column }: ModelFinding) => {
    const lines = text.split('\n').slice(0, line - 1)
    const at = lines.reduce((sum, each) => sum + each.length + 1, 0) + column - 1
    area.current?.focus()
    area.current?.setSelectionRange(at, at + 1)
  }
  return (
    <section class="panel editor" aria-label={t('modelText')}>
      <YamlField
        area={area}
        text={text}
        setText={setText}
        marked={new Map(findings.map(({ line, severity }) => [line, severity]))}
      />
      <ul class="findings" aria-live="polite">
        {findings.map((finding) => (
          <li key={`${finding.line}:${finding.column}:${finding.message}`} class={finding.severity}>
            <button type="button" class="plain" onClick={() => goTo(finding)}>
              <b>{t('line', { n: finding.line })}</b> {finding.message}. <span class="muted">{finding.hint}</span>
            </button>
          </li>
        ))}
        {check !== undefined && findings.length === 0 ? (
          <li class={current ? 'sound' : 'muted'}>✓ {t('sound', { names: check.models.join(', ') })}</li>
        ) : null}
      </ul>
      <Failure error={error} />
      {mayActAs(session.role, 'admin') ? (
        <div class="field">
          <WhyField why={why} onInput={setWhy} />
          <button type="button" class="primary" disabled={!sound} onClick={() => void apply()}>
            {t('apply')}
          </button>
          {made.length === 0 ? null : <span role="status">{t('made', { names: made.join(', ') })}</span>}
        </div>
      ) : null}
      {mayActAs(session.role, 'operator') ? <Trial text={text} sound={sound} /> : null}
    </section>
  )
}
