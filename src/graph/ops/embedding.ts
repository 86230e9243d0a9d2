import { defineOp, fits } from '../op.js'
import type { Tensor } from '../tensor.js'

const call = defineOp('embedding', {
  fields: { tokens: 'in', starts: 'in', token_table: 'in', position_table: 'in?', y: 'out' },
  outputs: ({ tokens, starts, token_table, position_table }) => {
    fits(tokens!.dtype === 'i32' && starts!.size === tokens!.size, 'embedding', `${tokens} and ${starts} do not fit each other`)
    fits(!position_table || position_table.rows >= tokens!.width, 'embedding', `${position_table} has fewer positions than a row of ${tokens}`)
    return { y: { dtype: token_table!.dtype, shape: [...tokens!.shape, token_table!.width] } }
  },
  gradient: ({ operands: { tokens, starts, token_table, position_table } }, { y: dy }) => {
    if (token_table!.gradient || position_table?.gradient) gradient({ dy, tokens, starts, dtoken_table: token_table!.gradient, dposition_table: position_table?.gradient })
  },
})

const gradient = defineOp('embedding_gradient', {
  fields: { dy: 'in', tokens: 'in', starts: 'in', dtoken_table: 'accumulate?', dposition_table: 'accumulate?' },
})

/**
 * Token embedding, plus learned positions (index in the document) where there is a table for them.
 * tokens, starts [rows, length] i32; tables [vocabulary, width], [positions, width]. Returns [rows, length, width] in the tables' type.
 */
export const embedding = (tokens: Tensor, starts: Tensor, tokenTable: Tensor, positionTable?: Tensor): Tensor =>
  call({ tokens, starts, token_table: tokenTable, position_table: positionTable }).y!
