-- What a journal holds, whoever has it.
if not version then return {'gone'} end
return {'ok', contents()}
