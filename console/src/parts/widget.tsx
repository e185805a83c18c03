import { useEffect, useId, useRef, useState } from 'preact/hooks'
import type { Json, ModelProperty } from '../../../api/resources.ts'
import { checkValue } from '../../../api/twin/limits.ts'
import type { DesiredAnswer, DeviceView, TwinView } from '../../../api/views.ts'
import { call } from '../http.ts'
import { number, plain, t, unitOf, withUnit } from '../words.ts'
import { Age, Badge, Failure, QualityMark } from './bits.tsx'

export interface WidgetProps {
  readonly device: DeviceView
  readonly twin: TwinView
  readonly property: ModelProperty | undefined
  readonly mayWrite: boolean
  readonly me: string
  readonly why: string
  readonly charted: boolean
  readonly onChart: (() => void) | undefined
}

/** One property: what is reported, how far it can be trusted, and, where it may be written, what is desired and how that stands. */
export function Widget(props: WidgetProps) {
  const { twin, property, mayWrite, charted, onChart } = props
  const titleId = useId()
  const writable = twin.access !== 'read'
  const old = twin.quality !== undefined && twin.quality !== 'good' && twin.quality !== 'uncertain'
  return (
    <article class={`widget${old ? ' old' : ''}${charted ? ' charted' : ''}`} aria-labelledby={titleId}>
      <header>
        <h3 id={titleId} title={property?.description}>
          {onChart === undefined ? (
            twin.name
          ) : (
            <button
              type="button"
              class="plain"
              aria-pressed={charted}
              onClick={onChart}
              title={t('chart', { name: twin.name })}
            >
              {twin.name}
              <svg class="spark" viewBox="0 0 16 12" aria-hidden="true">
                <path d="M1 9l4-4 3 3 6-7" />
              </svg>
            </button>
          )}
        </h3>
        <Age at={twin.at} />
      </header>
      {twin.access === 'write' ? null : (
        <div class="reading">
          <output>
            {twin.value === undefined ? (
              <span class="muted small">{t('notYet')}</span>
            ) : (
              <Reading twin={twin} property={property} />
            )}
          </output>
          <QualityMark quality={twin.quality} reason={twin.reason} />
        </div>
      )}
      {typeof twin.value === 'number' && property?.min !== undefined && property.max !== undefined && !writable ? (
        <Gauge value={twin.value} min={property.min} max={property.max} unit={property.unit} />
      ) : null}
      {twin.reason !== undefined && twin.quality !== 'good' ? <p class="reason">{twin.reason}</p> : null}
      {writable && property !== undefined ? (
        <Writer
          key={`${props.device.namespace}/${props.device.name}/${twin.name}`}
          {...props}
          property={property}
          disabled={!mayWrite}
        />
      ) : null}
    </article>
  )
}

function Reading({ twin, property }: { readonly twin: TwinView; readonly property: ModelProperty | undefined }) {
  const text = plain(twin.value, property?.precision)
  if (typeof twin.value === 'boolean') return <span class={`lamp ${twin.value ? 'lit' : ''}`}>{text}</span>
  return (
    <>
      {text}
      {twin.unit === undefined ? null : <span class="unit">{`\u202f${unitOf(twin.unit)}`}</span>}
    </>
  )
}

function Gauge({
  value,
  min,
  max,
  unit,
}: {
  readonly value: number
  readonly min: number
  readonly max: number
  readonly unit: string | undefined
}) {
  const share = max > min ? Math.max(0, Math.min(1, (value - min) / (max - min))) : 0
  return (
    <div class="gauge">
      <meter min={min} max={max} value={value} hidden />
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="rail" width="100" height="6" />
        <rect class="fill" width={share * 100} height="6" />
      </svg>
      <span class="ends">
        <span>{number(min)}</span>
        <span>{withUnit(number(max), unit)}</span>
      </span>
    </div>
  )
}

type Draft = string | boolean | undefined

function Writer(props: WidgetProps & { readonly property: ModelProperty; readonly disabled: boolean }) {
  const { device, twin, property, me, why, disabled } = props
  const [draft, setDraft] = useState<Draft>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [asked, setAsked] = useState<AbortController | undefined>(undefined)
  const sent = useRef<Json | undefined>(undefined)
  const meanwhile = useMeanwhile(twin, draft !== undefined, sent)
  const standing = twin.desired?.value ?? twin.value
  const value = draft === undefined ? undefined : typedAs(draft, property)
  const refusal = draft === undefined || draft === '' ? undefined : checkValue(property, value)
  const write = async (wanted: Json) => {
    asked?.abort()
    const flight = new AbortController()
    setAsked(flight)
    setError(undefined)
    sent.current = wanted
    try {
      const path = `/v1/devices/${encodeURIComponent(device.namespace)}/${encodeURIComponent(device.name)}/desired/${encodeURIComponent(twin.name)}?wait=30s`
      await call<DesiredAnswer>(path, { method: 'PUT', body: { value: wanted, by: me }, why, signal: flight.signal })
      // What was typed on meanwhile is not written yet.
      if (!flight.signal.aborted) setDraft((now) => (now === draft ? undefined : now))
    } catch (thrown) {
      if (!flight.signal.aborted) setError(thrown)
    } finally {
      if (!flight.signal.aborted) setAsked(undefined)
    }
  }
  const submit = (event: Event) => {
    event.preventDefault()
    if (refusal === undefined && value !== undefined && !disabled) void write(value)
  }
  const label = `${t('desired')}: ${twin.name}`
  return (
    <form class="writer" onSubmit={submit} aria-busy={asked !== undefined}>
      <Control
        {...{ property, draft, setDraft, standing, label, disabled }}
        writeNow={(wanted) => void write(wanted)}
      />
      {refusal === undefined ? null : (
        <p class="failure" role="alert">
          {refusal.message}. {refusal.hint}
        </p>
      )}
      <Failure error={error} />
      {meanwhile === undefined ? null : (
        <p class="meanwhile" role="status">
          {t('changedBy', {
            who: meanwhile.by,
            value: withUnit(plain(meanwhile.value, property.precision), property.unit),
          })}
        </p>
      )}
      <Standing twin={twin} property={property} />
    </form>
  )
}

/** What is desired, by whom, and how the write stands. */
function Standing({ twin, property }: { readonly twin: TwinView; readonly property: ModelProperty }) {
  const { desired, state } = twin
  if (desired === undefined) return null
  return (
    <p class="standing" role="status">
      <span class="muted">{t('desired')}</span>{' '}
      <b>{withUnit(plain(desired.value, property.precision), property.unit)}</b>{' '}
      {state === undefined ? null : <Badge state={state} title={twin.stateReason} />}
      {desired.by === undefined ? null : <span class="muted small by"> {t('by', { who: shortName(desired.by) })}</span>}
      {twin.stateReason === undefined ? null : <span class="reason">{twin.stateReason}</span>}
    </p>
  )
}

const shortName = (by: string): string => by.replace(/^sluice-console-/, '')

/** What this window wrote last. */
type Sent = { readonly current: Json | undefined }

interface Setting {
  readonly by: string
  readonly value: Json
}

/**
 * Says when another value was set while this person was editing it, by anybody or in another window of theirs. Told by the
 * value: two values set at a gateway may share a version, and the cloud core gives a value it hears of a version of its own.
 */
function useMeanwhile(twin: TwinView, editing: boolean, sent: Sent): Setting | undefined {
  const value = JSON.stringify(twin.desired?.value)
  const known = useRef(value)
  const [seen, setSeen] = useState<Setting | undefined>(undefined)
  useEffect(() => {
    const { desired } = twin
    if (!editing) setSeen(undefined)
    else if (desired !== undefined && value !== known.current && value !== JSON.stringify(sent.current)) {
      setSeen({ by: shortName(desired.by ?? '?'), value: desired.value })
    }
    known.current = value
  }, [editing, value])
  return seen
}

interface ControlProps {
  readonly property: ModelProperty
  readonly draft: Draft
  readonly setDraft: (draft: Draft) => void
  readonly standing: Json | undefined
  readonly label: string
  readonly disabled: boolean
  readonly writeNow: (value: Json) => void
}

function Control({ property, draft, setDraft, standing, label, disabled, writeNow }: ControlProps) {
  const { min, max, unit } = property
  const changed = draft !== undefined
  const set = (
    <button type="submit" disabled={disabled || !changed || draft === ''}>
      {t('set')}
    </button>
  )
  if (property.type === 'bool') {
    const on = standing === true
    return (
      <button
        type="button"
        role="switch"
        aria-checked={on}
        aria-label={label}
        class="switch"
        disabled={disabled}
        onClick={() => writeNow(!on)}
      >
        <span class="knob" />
        <span class="switch-word">{on ? t('on') : t('off')}</span>
      </button>
    )
  }
  if (property.enum !== undefined) {
    const known = property.enum.some((each) => JSON.stringify(each) === JSON.stringify(standing))
    const chosen = typeof draft === 'string' ? draft : known ? JSON.stringify(standing) : ''
    return (
      <div class="field">
        <select
          aria-label={label}
          disabled={disabled}
          value={chosen}
          onChange={(event) => setDraft(event.currentTarget.value)}
        >
          {known ? null : <option value="">–</option>}
          {property.enum.map((each) => (
            <option key={JSON.stringify(each)} value={JSON.stringify(each)}>
              {withUnit(plain(each as Json), unit)}
            </option>
          ))}
        </select>
        {set}
      </div>
    )
  }
  const text =
    typeof draft === 'string'
      ? draft
      : standing === undefined || standing === null
        ? ''
        : typeof standing === 'object'
          ? JSON.stringify(standing)
          : String(standing)
  const numeric = property.type === 'int' || property.type === 'float'
  const step = property.precision ?? (property.type === 'int' ? 1 : 'any')
  const common = {
    'aria-label': label,
    value: text,
    disabled,
    onInput: (event: { readonly currentTarget: HTMLInputElement }) => setDraft(event.currentTarget.value),
  }
  const limits = { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) }
  const input = numeric ? (
    <input type="number" inputMode="decimal" step={step} {...limits} {...common} />
  ) : (
    <input {...common} />
  )
  return (
    <>
      {numeric && min !== undefined && max !== undefined ? (
        <div class="slider">
          <input
            type="range"
            aria-label={`${label}, ${t('limits', { min: number(min), max: withUnit(number(max), unit) })}`}
            {...{ min, max, disabled }}
            step={step === 'any' ? (max - min) / 200 : step}
            value={text === '' ? min : text}
            onInput={(event) => setDraft(event.currentTarget.value)}
          />
          <span class="ends">
            <span>{number(min)}</span>
            <span>{withUnit(number(max), unit)}</span>
          </span>
        </div>
      ) : null}
      <div class="field">
        {input}
        {unit === undefined ? null : <span class="unit">{unitOf(unit)}</span>}
        {set}
      </div>
    </>
  )
}

/** What was typed, as the property's type; what cannot be that stays text, for the check to say so. */
function typedAs(draft: string | boolean, property: ModelProperty): Json {
  if (typeof draft === 'boolean') return draft
  if (property.enum !== undefined || property.type === 'object' || property.type === 'array') {
    try {
      return JSON.parse(draft) as Json
    } catch {
      return draft
    }
  }
  if (property.type !== 'int' && property.type !== 'float') return draft
  const value = Number(draft)
  return draft.trim() === '' || !Number.isFinite(value) ? draft : value
}
