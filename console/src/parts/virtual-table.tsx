import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { sortable } from '../../../api/natural-order.ts'
import { t } from '../words.ts'

export interface Column<T> {
  readonly id: string
  readonly title: string
  readonly cell: (row: T) => ComponentChildren
  /** Absent: not sortable. */
  readonly sort?: (row: T) => string | number
  readonly numeric?: boolean
}

export interface VirtualTableProps<T extends object> {
  readonly label: string
  readonly rows: readonly T[]
  readonly columns: readonly Column<T>[]
  readonly keyOf: (row: T) => string
  readonly hrefOf: (row: T) => string
  /** What the filter looks at. */
  readonly text: (row: T) => string
  readonly empty: string
  /** How many rows there are, while only the first of them are known. */
  readonly total?: number | undefined
  readonly dull?: (row: T) => boolean
}

const ROW_PX = 40
const TALL_ROW_PX = 68
const SPARE_ROWS = 6

/** A table of any length: only the rows in sight are in the page. Filtered by words, sorted by a column. */
export function VirtualTable<T extends object>(props: VirtualTableProps<T>) {
  const { rows, columns, keyOf, hrefOf, text, label } = props
  const [filter, setFilter] = useState('')
  const [order, setOrder] = useState<{ readonly id: string; readonly down: boolean }>({
    id: columns[0]!.id,
    down: false,
  })
  const narrow = useNarrow()
  const { box, top, height } = useScroll()
  const { kept, sorted } = useMemo(() => {
    const words = filter
      .toLowerCase()
      .split(/\s+/)
      .filter((each) => each !== '')
    const fits = (row: T) => words.every((each) => text(row).toLowerCase().includes(each))
    const kept = words.length === 0 ? rows : rows.filter(fits)
    const column = columns.find(({ id }) => id === order.id)
    return { kept, sorted: column?.sort === undefined ? kept : byColumn(kept, column.sort, order.down) }
  }, [rows, filter, order])
  const rowPx = narrow ? TALL_ROW_PX : ROW_PX
  const first = Math.max(0, Math.floor(top / rowPx) - SPARE_ROWS)
  const shown = sorted.slice(first, Math.ceil((top + height) / rowPx) + SPARE_ROWS)
  return (
    <div class="vtable">
      <div class="tools">
        <label>
          <span class="hidden">{t('filter')}</span>
          <input
            type="search"
            placeholder={t('filterHint')}
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        </label>
        <span class="muted" role="status">
          {t('of', { n: kept === rows ? (props.total ?? rows.length) : kept.length, all: props.total ?? rows.length })}
        </span>
      </div>
      <div class="scroller" ref={box} role="table" aria-label={label} aria-rowcount={sorted.length + 1} tabIndex={0}>
        <div class="row head" role="row" aria-rowindex={1}>
          {columns.map(({ id, title, sort: sortable, numeric }) => (
            <div
              key={id}
              role="columnheader"
              class={`cell c-${id}${numeric ? ' num' : ''}`}
              aria-sort={order.id !== id ? 'none' : order.down ? 'descending' : 'ascending'}
            >
              {sortable === undefined ? (
                title
              ) : (
                <button
                  type="button"
                  class="sort"
                  onClick={() => setOrder({ id, down: order.id === id && !order.down })}
                >
                  {title}
                  <span aria-hidden="true">{order.id !== id ? '' : order.down ? ' ↓' : ' ↑'}</span>
                </button>
              )}
            </div>
          ))}
        </div>
        {sorted.length === 0 ? (
          <p class="muted pad">{rows.length === 0 ? props.empty : t('noMatch')}</p>
        ) : (
          <div class="rows" role="rowgroup" style={{ height: `${sorted.length * rowPx}px` }}>
            {shown.map((row, index) => (
              <div
                key={keyOf(row)}
                role="row"
                aria-rowindex={first + index + 2}
                class={`row${props.dull?.(row) === true ? ' dull' : ''}`}
                style={{ transform: `translateY(${(first + index) * rowPx}px)`, height: `${rowPx}px` }}
              >
                {columns.map(({ id, cell, numeric }, at) => (
                  <div key={id} role="cell" class={`cell c-${id}${numeric ? ' num' : ''}`}>
                    {at === 0 ? <a href={hrefOf(row)}>{cell(row)}</a> : cell(row)}
                  </div>
                ))}
              </div>
            ))}
          </div>
        )}
      </div>
    </div>
  )
}

const keyOf = (key: string | number): string | number => (typeof key === 'number' ? key : sortable(key))

type Keys = WeakMap<object, string | number>
/** Of each column, by row. A row that changed is another object, and all others keep their keys: most of sorting is making them. */
const keysOf = new WeakMap<object, Keys>()

function byColumn<T extends object>(rows: readonly T[], sort: (row: T) => string | number, down: boolean): T[] {
  const known: Keys = keysOf.get(sort) ?? new WeakMap()
  keysOf.set(sort, known)
  const keyed = rows.map((row) => {
    let key = known.get(row)
    if (key === undefined) known.set(row, (key = keyOf(sort(row))))
    return { key, row }
  })
  const sign = down ? -1 : 1
  keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0))
  return keyed.map(({ row }) => row)
}

export function useNarrow(): boolean {
  const query = '(max-width: 760px)'
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches)
  useEffect(() => {
    const media = matchMedia(query)
    const changed = () => setNarrow(media.matches)
    media.addEventListener('change', changed)
    return () => media.removeEventListener('change', changed)
  }, [])
  return narrow
}

function useScroll() {
  const box = useRef<HTMLDivElement>(null)
  const [place, setPlace] = useState({ top: 0, height: 800 })
  useEffect(() => {
    const element = box.current
    if (element === null) return
    let asked = false
    const look = () => {
      asked = false
      setPlace({ top: element.scrollTop, height: element.clientHeight })
    }
    const ask = () => {
      if (!asked) requestAnimationFrame(look)
      asked = true
    }
    const resized = new ResizeObserver(ask)
    resized.observe(element)
    element.addEventListener('scroll', ask, { passive: true })
    return () => {
      resized.disconnect()
      element.removeEventListener('scroll', ask)
    }
  }, [])
  return { box, ...place }
}
