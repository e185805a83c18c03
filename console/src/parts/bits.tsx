import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Quality } from '../../../api/twin/quality.ts'
import { ago, moment, t, word } from '../words.ts'

/** Symbol, colour and word together: none of them alone says it. */
const LOOKS: Readonly<Record<string, readonly [tone: string, mark: string]>> = {
  online: ['ok', '●'],
  synced: ['ok', '✓'],
  applied: ['ok', '✓'],
  approved: ['ok', '✓'],
  good: ['ok', '●'],
  pending: ['wait', '…'],
  new: ['wait', '●'],
  unused: ['wait', '●'],
  neverJoined: ['wait', '◌'],
  uncertain: ['warn', '?'],
  stale: ['warn', '◌'],
  unknown: ['warn', '◌'],
  paused: ['wait', '‖'],
  rejected: ['bad', '✕'],
  timedOut: ['bad', '✕'],
  offline: ['bad', '○'],
  invalid: ['bad', '✕'],
  bad: ['bad', '✕'],
  Running: ['ok', '●'],
  Succeeded: ['ok', '✓'],
  Pending: ['wait', '…'],
  Failed: ['bad', '✕'],
  Unknown: ['warn', '◌'],
  ending: ['wait', '…'],
  closed: ['warn', '‖'],
  here: ['ok', '●'],
  best: ['wait', '★'],
  impossible: ['bad', '✕'],
  trial: ['wait', '?'],
  Ready: ['ok', '✓'],
  Incomplete: ['warn', '…'],
  Invalid: ['bad', '✕'],
  Waiting: ['wait', '…'],
  Canary: ['wait', '▸'],
  Waves: ['wait', '▸'],
  Paused: ['warn', '‖'],
  Halted: ['bad', '✕'],
  Done: ['ok', '✓'],
  RollingBack: ['warn', '↺'],
  RolledBack: ['bad', '↺'],
  confirmed: ['ok', '✓'],
  failed: ['bad', '✕'],
  rolledBack: ['bad', '↺'],
  kept: ['bad', '✕'],
  reverted: ['warn', '↺'],
}

export function Badge({ state, title }: { readonly state: string; readonly title?: string | undefined }) {
  const [tone, mark] = LOOKS[state] ?? ['wait', '·']
  return (
    <span class={`badge ${tone}`} title={title}>
      <span aria-hidden="true">{mark}</span> {word(state)}
    </span>
  )
}

/** Says nothing where everything is as it should be. */
export function QualityMark({
  quality,
  reason,
}: {
  readonly quality?: Quality | undefined
  readonly reason?: string | undefined
}) {
  if (quality === undefined || quality === 'good') return null
  const state = quality.startsWith('bad') ? 'bad' : quality
  return <Badge state={state} title={reason ?? quality} />
}

const clocks = new Map<number, Set<() => void>>()

/** Draws again every so often, so that ages grow. All that tick alike share one timer. */
export function useTick(everyMs: number): void {
  const [, draw] = useState(0)
  useEffect(() => {
    let waiting = clocks.get(everyMs)
    if (waiting === undefined) {
      const made = new Set<() => void>()
      clocks.set(everyMs, (waiting = made))
      setInterval(() => {
        for (const tick of made) tick()
      }, everyMs)
    }
    const tick = () => draw((count) => count + 1)
    waiting.add(tick)
    return () => void waiting.delete(tick)
  }, [everyMs])
}

export function Age({ at }: { readonly at: string | undefined }) {
  useTick(5_000)
  if (at === undefined) return <span class="muted">–</span>
  return (
    <time class="muted" dateTime={at} title={moment(at)}>
      {ago(at)}
    </time>
  )
}

export function Panel({
  title,
  children,
  aside,
}: {
  readonly title: string
  readonly children: ComponentChildren
  readonly aside?: ComponentChildren
}) {
  return (
    <section class="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}

export function Facts({ items }: { readonly items: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

/** A share of a whole as a bar, with the figure beside it. */
export function Bar({
  share,
  label,
  warnAt = 0.7,
}: {
  readonly share: number
  readonly label: string
  readonly warnAt?: number
}) {
  const tone = share > 1 ? 'bad' : share > warnAt ? 'warn' : 'ok'
  return (
    <span class="bar">
      <svg class={`track ${tone}`} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="rail" width="100" height="6" />
        <rect class="fill" width={Math.max(0, Math.min(100, share * 100))} height="6" />
      </svg>
      <span class="num">{label}</span>
    </span>
  )
}

/** Why somebody does what they are about to do: it stands in the audit log beside it. */
export function WhyField({ why, onInput }: { readonly why: string; readonly onInput: (why: string) => void }) {
  return (
    <input
      class="why"
      aria-label={t('why')}
      placeholder={t('why')}
      maxLength={200}
      value={why}
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  )
}

export function Failure({ error }: { readonly error: unknown }) {
  if (error === undefined) return null
  const { message, hint, status } = error as { message?: string; hint?: string; status?: number }
  return (
    <p class="failure" role="alert">
      {status === 0 ? t('unreachable') : sentence(message ?? String(error))}{' '}
      {hint === undefined || hint === '' ? '' : <span>{hint}</span>}
    </p>
  )
}

/** Errors end without a full stop: something may be said behind them. */
const sentence = (words: string): string => (/[.!?…]$/.test(words) ? words : `${words}.`)

export const Loading = () => <p class="muted pad">{t('loading')}</p>
